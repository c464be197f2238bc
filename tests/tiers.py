"""How much is tested: ``pytest --tier fast``, ``default`` or ``all``.

=========  ==============  ==========================================================
Tier       Command         Tests
=========  ==============  ==========================================================
fast       make test-fast  Those that start no process and no browser.
default    make test       Every claim once: on Daphne and the memory store, and once
                           on each other server and store where the claim is theirs.
all        make test-all   Every server with every store, every fault with every
                           store, and the largest crowds.
=========  ==============  ==========================================================

Only this module says which test belongs to which tier, by four rules:

1. A test starts processes if it is in one of :data:`PROCESS_FOLDERS`, asks for one of
   :data:`PROCESS_FIXTURES`, has one of :data:`PROCESS_PARAMS`, or is marked
   ``process``. The fast tier leaves those out, and fails any other test that starts a
   process.
2. Of the conformance tests' servers, the default tier runs :data:`ROWS`.
3. Of the faults, the default tier runs :data:`FAULTS`.
4. Crowds have as many clients as :data:`CROWDS` says, and properties that Hypothesis
   tests as many examples as :data:`EXAMPLES`, unless they say otherwise.

Rules 2 and 3 are applied where those tests are parametrized, by :func:`in_tier`. One
line at the end of a run names the tests that only ``make test-all`` runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from hypothesis import settings

TIERS = ("fast", "default", "all")

PROCESS_FOLDERS = ("browser", "conformance", "faults", "js", "live")
PROCESS_FIXTURES = {"server", "valkey"}
PROCESS_PARAMS = {"make": {"redis", "layer redis", "layer pubsub"}}

#: Each server, and one process and several on each kind of store. The combinations of
#: other servers with stores that are independent of them are left out.
ROWS = {
    "Daphne",
    "uvicorn",
    "granian",
    "runpushserver",
    "two Daphnes, Redis",
    "two Daphnes, layer",
    "nginx before Daphne",
    "nginx with Nchan",
}

#: Each store without a fault, and one fault of each kind with the store in Redis, which
#: promises to lose nothing: a process ends, a process is restarted, Redis comes back
#: with its data or without, is full, disconnects its clients, is unreachable.
FAULTS = {
    ("nothing", "redis"),
    ("nothing", "channel_layer"),
    ("nothing", "memory"),
    ("kill-server", "redis"),
    ("rolling-restart", "redis"),
    ("kill-redis", "redis"),
    ("kill-empty-redis", "redis"),
    ("fill-redis", "redis"),
    ("kill-connections", "redis"),
    ("cut", "redis"),
    ("presence-kill-redis", "redis"),
}

#: The number of clients in a crowd, by tier.
CROWDS = {"fast": 300, "default": 300, "all": 2000}

#: The number of examples that Hypothesis tries, by tier.
EXAMPLES = {"fast": 25, "default": 100, "all": 500}

_left: Counter[str] = Counter()
_running: pytest.Item | None = None


def in_tier(value: Any, chosen: Collection[Any], what: str, **options: Any) -> Any:
    """Return a parameter for tests; unless it is chosen, only the tier ``all`` runs it.

    Args:
        value: The parameter's value; a tuple holds several.
        chosen: The values that the default tier runs, too.
        what: What the summary calls the tests that are left out.
        options: Those of :func:`pytest.param`.
    """
    marks = () if value in chosen else pytest.mark.left_to_all(what)
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=marks, **options)


def starts_processes(item: pytest.Item) -> bool:
    """Return whether a test starts processes, by rule 1."""
    folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    return (
        folder in PROCESS_FOLDERS
        or bool(PROCESS_FIXTURES.intersection(getattr(item, "fixturenames", ())))
        or any(params.get(name) in values for name, values in PROCESS_PARAMS.items())
        or item.get_closest_marker("process") is not None
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier", choices=TIERS, default="default", help="how much is tested"
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "process: starts a process, so it is not in the fast tier",
        "left_to_all(what): is in the tier 'all' only",
    ):
        config.addinivalue_line("markers", line)
    tier = config.getoption("tier")
    # The duration of an example depends on the load of the machine.
    settings.register_profile("tests", deadline=None, max_examples=EXAMPLES[tier])
    settings.load_profile("tests")
    if tier == "fast":
        sys.addaudithook(_refuse_processes)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    tier = config.getoption("tier")
    kept, left = [], []
    for item in items:
        mark = item.get_closest_marker("left_to_all")
        if mark is not None and tier != "all":
            _left[mark.args[0]] += 1
            left.append(item)
        elif tier == "fast" and starts_processes(item):
            _left["with processes"] += 1
            left.append(item)
        else:
            kept.append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of one server in one worker, unless ``--dist`` says otherwise."""
    if config.getvalue("dist") != "load":
        return None
    from .scheduling import ServerScheduling

    return ServerScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _running
    _running = item
    try:
        return (yield)
    finally:
        _running = None


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    if _running and event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        raise AssertionError(
            f"{_running.nodeid} starts a process: mark it with pytest.mark.process."
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # A worker of xdist reports the tests left out to the process that started it.
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = dict(_left)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # All workers collect the same tests, so one report is enough.
    _left.update(getattr(node, "workeroutput", {}).get("left", {}) if not _left else {})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _left:
        told = ", ".join(f"{count} {what}" for what, count in sorted(_left.items()))
        tier = terminalreporter.config.getoption("tier")
        crowds = f"crowds of {CROWDS['all']:,} in place of {CROWDS[tier]}"
        terminalreporter.write_line(f"Left to make test-all: {told}, and {crowds}.")


@pytest.fixture(scope="session")
def crowd(pytestconfig: pytest.Config) -> int:
    """The number of clients in a crowd."""
    return CROWDS[pytestconfig.getoption("tier")]
