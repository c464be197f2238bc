"""Fixtures and options for the tests of conformance to the protocol.

``pytest tests/conformance`` runs over every server in :mod:`tests.conformance.servers`;
with ``--server`` over one that is already running, known only by its URLs::

    pytest tests/conformance --server http://127.0.0.1:8000
        --publisher '/send-update/{channel}' --subscriber '/updates/{channel}'

Other locations are optional; tests that need a missing one are skipped. Each test
uses its own channel and deletes it. The channel info of the server has to contain
the number of held requests, and it has to accept messages of up to 1 MiB, but none
that are longer.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import tiers
from tests.tiers import in_tier

from .differences import DIFFERENCES
from .servers import ROWS, serve
from .sites import ROLES, Client, Early, Relay, Site


# pytest reads options of a directory only if the command line names it; otherwise
# they have their defaults, and the tests run over the servers that they start.
def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "a running server to be tested")
    group.addoption("--server", action="append", help="its URL; again for a process")
    for role, what in ROLES.items():
        group.addoption(f"--{role}", metavar="PATH", help=f"with {{channel}}: {what}")
    group.addoption("--origin", help="may send cookies to --cors")
    group.addoption("--differs-as", choices=DIFFERENCES, help="has these differences")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "must(number): a MUST of the protocol, Rev. 2.23"
    )
    config.addinivalue_line(
        "markers", "should(number): a SHOULD of the protocol, Rev. 2.23"
    )
    servers = config.getoption("server", None) or ()
    check_options(servers, {role: _path(config, role) for role in ROLES})


def _path(config: pytest.Config, role: str) -> str | None:
    path: str | None = config.getoption(role.replace("-", "_"), None)
    return path


def check_options(servers: Collection[str], paths: dict[str, str | None]) -> None:
    """Raise ``pytest.UsageError`` unless the options describe servers to be tested.

    Args:
        servers: Their URLs; without one, the paths are not read.
        paths: The path of each role, None if it is not given.
    """
    for server in servers:
        if not _is_origin(server):
            raise pytest.UsageError(
                f"--server {server}: it has to be http://host:port. What is tested is"
                " plain HTTP, and a path belongs to the locations."
            )
    for role, path in paths.items() if servers else ():
        if path is None and role in ("publisher", "subscriber"):
            raise pytest.UsageError(f"--{role} has to be given with --server.")
        if path is not None and not ("{channel}" in path and path.startswith("/")):
            raise pytest.UsageError(
                f"--{role} {path}: it has to be a path with {{channel}} in it."
            )


def _is_origin(server: str) -> bool:
    try:
        url = urlsplit(server)
        is_there = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return is_there and url.scheme == "http" and not url.path.strip("/")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" not in metafunc.fixturenames:
        return
    servers = metafunc.config.getoption("server", None)
    must = metafunc.definition.get_closest_marker("must")
    rows = tiers.ROWS if must else tiers.FEWER_ROWS
    names = [", ".join(servers)] if servers else _rows(rows)
    metafunc.parametrize("site", names, indirect=True, scope="session")


def _rows(chosen: Collection[str]) -> list[Any]:
    left = "of other servers with other stores"
    return [in_tier(name, chosen, left) for name in ROWS]


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The server under test."""
    servers = request.config.getoption("server", None)
    if not servers:
        with serve(request.param) as site:
            yield site
        return
    given = {role: _path(request.config, role) for role in ROLES}
    paths = {role: path for role, path in given.items() if path is not None}
    origin = request.config.getoption("origin")
    site = Site(
        request.param, tuple(each.rstrip("/") for each in servers), paths, origin
    )
    _check_it_publishes(site)
    yield site


def _check_it_publishes(site: Site) -> None:
    """End the tests if nothing can be published, since each would only time out."""
    client = Client()
    relay = Relay(site, client)
    try:
        status = relay.publish().status
        relay.close()
        told = None if status in (201, 202) else f"it answered {status}"
    except (OSError, ValueError, IndexError, AssertionError) as error:
        told = str(error)
    finally:
        client.close()
    if told is not None:
        publisher = site.servers[0] + relay.path("publisher")
        pytest.exit(f"Nothing can be published at {publisher}: {told}", returncode=1)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def early(site: Site, client: Client) -> Iterator[Early]:
    """Long operations that start before all tests, so that these need not wait."""
    relay = Relay(site, client)
    yield Early(relay)
    relay.close()


@pytest.fixture
def relay(site: Site, early: Early, client: Client) -> Iterator[Relay]:
    """The server under test with an unused channel."""
    relay = Relay(site, client)
    yield relay
    relay.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Where a server is known to differ, assert the known difference instead."""
    relay = pyfuncitem.funcargs.get("relay")
    if isinstance(relay, Relay):
        known = pyfuncitem.config.getoption("differs_as", None) or relay.site.name
        difference = DIFFERENCES.get(known, {}).get(pyfuncitem.originalname)
        if difference is not None:
            difference.instead(relay)
            pytest.xfail(difference.reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if "site" in getattr(item, "fixturenames", ()):
        server = item.callspec.params["site"]  # type: ignore[attr-defined]
        if report.when == "call" or not report.passed:
            # xdist sends an attribute with the report of its worker.
            report.conformance = (server, *_requirement(item), _result(report))
    return report


def _requirement(item: pytest.Item) -> tuple[str, str]:
    for level in ("must", "should"):
        mark = item.get_closest_marker(level)
        if mark is not None:
            return level, str(mark.args[0])
    return "more", item.nodeid


def _result(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "differs"
    return {"skipped": "not tried"}.get(report.outcome, report.outcome)
