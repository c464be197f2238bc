"""The measured servers: this package, bare applications, and other projects."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cores
from .eventstream.environment import make_environment
from .processes import Server
from .tuning import MEASURES

BARE = "benchmarks.bare:application"
BARE_STREAMS = "benchmarks.bare_streams:application"
BARE_SOCKETS = "benchmarks.bare_sockets:application"
BARE_TUNED = "benchmarks.bare_tuned:application"
OURS = "benchmarks.site.asgi:application"
TUNED = "benchmarks.site.tuned:application"
EVENTSTREAM = "benchmarks.eventstream.asgi:application"

NCHAN_MODULES = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/share/nginx/modules/ngx_nchan_module.so"),
)

Env = dict[str, str]
Start = Callable[[Env], AbstractContextManager[Server]]


class NotInstalled(Exception):
    """A server is not installed; the text is the command to install it."""


@dataclass(frozen=True)
class Contender:
    """A server to be measured.

    Attributes:
        name: The name on the command line and in the results.
        title: The name in tables.
        floor: The name of the contender that is its baseline.
        start: Starts it with environment variables, as a context manager.
        mode: What its clients use: long polls, ``sse`` or ``ws``.
        channels: The number of channels on a stream.
        streams_beside: The number of other streams that are open while it is measured.
    """

    name: str
    title: str
    floor: str
    start: Start
    mode: str = "fanout"
    channels: int = 1
    streams_beside: int = 0


def daphne(application: str, env: Env, python: str = sys.executable) -> Server:
    # With the default backlog of 50, thousands of clients would have to connect again.
    endpoint = "tcp:port={port}:interface=127.0.0.1:backlog=4096"
    return Server([python, "-m", "daphne", "-v", "0", "-e", endpoint, application], env)


def uvicorn(
    application: str, env: Env, python: str = sys.executable, workers: int = 1
) -> Server:
    command = [python, "-m", "uvicorn", "--port", "{port}", "--backlog", "4096"]
    command += ["--no-access-log", "--log-level", "warning"]
    if workers > 1:
        command += ["--workers", str(workers)]
        # Otherwise it would replace a worker that is suspended.
        command += ["--timeout-worker-healthcheck", "600"]
    on = cores.SERVER if workers == 1 else cores.SERVERS
    return Server([*command, application], env, on)


def runpushserver(env: Env) -> Server:
    command = [sys.executable, "-m", "django", "runpushserver", "-v", "0", "{port}"]
    return Server(
        command, {"DJANGO_SETTINGS_MODULE": "benchmarks.site.settings", **env}
    )


def tuned_daphne(*measures: str) -> Start:
    """Return a function that starts Daphne with some measures of runpushserver."""
    command = [sys.executable, "-m", "benchmarks.tuning", "{port}", *measures]
    return lambda env: Server(command, env)


@contextmanager
def nchan(env: Env) -> Iterator[Server]:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    module = next((path for path in NCHAN_MODULES if path.exists()), None)
    if nginx is None or module is None:
        raise NotInstalled("apt install nginx-light libnginx-mod-nchan")
    with tempfile.TemporaryDirectory(prefix="nchan-") as folder:
        # Its worker, which does not run as root, stores large bodies there.
        os.chmod(folder, 0o755)
        conf = Path(folder, "nginx.conf")
        server = Server([nginx, "-c", str(conf), "-p", folder], env)
        template = Path(__file__).with_name("nginx.conf").read_text()
        text = template % {"module": module, "folder": folder}
        conf.write_text(text.replace("{port}", str(server.port)))
        with server:
            yield server


def with_redis(start: Start) -> Start:
    """Return a function that starts a server with a Valkey on the load's core."""

    @contextmanager
    def start_both(env: Env) -> Iterator[Server]:
        from tests.valkey import Valkey

        with ExitStack() as stack:
            valkey = stack.enter_context(Valkey())
            pid = valkey.process.pid
            os.sched_setaffinity(pid, cores.LOAD)
            # A suspended process does not handle the signal to end.
            stack.callback(os.kill, pid, signal.SIGCONT)
            server = stack.enter_context(start({"BENCHMARK_REDIS": valkey.url, **env}))
            server.companions.append(pid)
            yield server

    return start_both


def _no_server(env: Env) -> AbstractContextManager[Server]:
    raise NotInstalled("It is a script, which serves nothing.")


def _eventstream(run: Callable[..., Server]) -> Start:
    return lambda env: run(EVENTSTREAM, env, str(make_environment()))


def _open_connections(bare: str, mode: str, title: str) -> Iterator[Contender]:
    """Yield the servers whose clients keep a connection open.

    Args:
        bare: The application that each is compared with.
        mode: How the clients listen; the names of the contenders end with it.
        title: What the tables call it.
    """
    for name, of_server, floor, start in (
        ("daphne-bare", "bare, Daphne", "daphne", lambda env: daphne(bare, env)),
        ("daphne", "ours, Daphne", "daphne", lambda env: daphne(OURS, env)),
        ("runpushserver", "ours, runpushserver", "daphne", runpushserver),
        ("uvicorn-bare", "bare, uvicorn", "uvicorn", lambda env: uvicorn(bare, env)),
        ("uvicorn", "ours, uvicorn", "uvicorn", lambda env: uvicorn(OURS, env)),
        ("nchan", "nginx with Nchan", "uvicorn", nchan),
    ):
        yield Contender(
            f"{name}-{mode}",
            f"{of_server}, {title}",
            f"{floor}-bare-{mode}",
            start,
            mode,
        )


_ALL = (
    Contender(
        "daphne-bare", "bare, Daphne", "daphne-bare", lambda env: daphne(BARE, env)
    ),
    Contender("daphne", "ours, Daphne", "daphne-bare", lambda env: daphne(OURS, env)),
    Contender("runpushserver", "ours, runpushserver", "daphne-bare", runpushserver),
    Contender(
        "eventstream-daphne",
        "django-eventstream, Daphne",
        "daphne-bare",
        _eventstream(daphne),
        mode="sse",
    ),
    Contender(
        "uvicorn-bare", "bare, uvicorn", "uvicorn-bare", lambda env: uvicorn(BARE, env)
    ),
    Contender(
        "uvicorn", "ours, uvicorn", "uvicorn-bare", lambda env: uvicorn(OURS, env)
    ),
    Contender(
        "uvicorn-bare-tuned",
        "bare, uvicorn, collector set",
        "uvicorn-bare",
        lambda env: uvicorn(BARE_TUNED, env),
    ),
    Contender(
        "uvicorn-tuned",
        "ours, uvicorn, collector set",
        "uvicorn-bare",
        lambda env: uvicorn(TUNED, env),
    ),
    Contender(
        "eventstream-uvicorn",
        "django-eventstream, uvicorn",
        "uvicorn-bare",
        _eventstream(uvicorn),
        mode="sse",
    ),
    Contender("nchan", "nginx with Nchan", "uvicorn-bare", nchan),
    # The same servers, whose clients use server-sent events:
    *_open_connections(BARE_STREAMS, "sse", "streams"),
    Contender(
        "uvicorn-redis-sse",
        "ours, uvicorn, Redis, streams",
        "uvicorn-bare-sse",
        with_redis(lambda env: uvicorn(OURS, env)),
        "sse",
    ),
    # WebSockets:
    *_open_connections(BARE_SOCKETS, "ws", "WebSockets"),
    # Streams of eight channels, and polls while streams are open:
    *(
        contender
        for name, title, start in (
            ("daphne", "ours, Daphne", lambda env: daphne(OURS, env)),
            ("runpushserver", "ours, runpushserver", runpushserver),
            ("uvicorn", "ours, uvicorn", lambda env: uvicorn(OURS, env)),
        )
        for contender in (
            Contender(
                f"{name}-sse-8",
                f"{title}, streams of 8 channels",
                name,
                start,
                "sse",
                channels=8,
            ),
            Contender(
                f"{name}-beside",
                f"{title}, beside streams",
                name,
                start,
                streams_beside=1_000,
            ),
        )
    ),
    # With the durations that only a metrics location measures:
    *(
        Contender(
            f"{name}-metrics",
            f"{title}, with metrics",
            name,
            lambda env, run=run: run(OURS, {"BENCHMARK_METRICS": "1", **env}),
        )
        for name, title, run in (
            ("daphne", "ours, Daphne", daphne),
            ("uvicorn", "ours, uvicorn", uvicorn),
        )
    ),
    # With a shared store, compared with the memory store:
    Contender(
        "daphne-redis",
        "ours, Daphne, Redis",
        "daphne",
        with_redis(lambda env: daphne(OURS, env)),
    ),
    Contender(
        "uvicorn-redis",
        "ours, uvicorn, Redis",
        "uvicorn",
        with_redis(lambda env: uvicorn(OURS, env)),
    ),
    Contender(
        "uvicorn-redis-4",
        "ours, 4 × uvicorn, Redis",
        "uvicorn-redis",
        with_redis(lambda env: uvicorn(OURS, env, workers=4)),
    ),
    # A process without a push server, which publishes into Redis:
    Contender("script-bare", "redis-py alone", "script-bare", _no_server),
    Contender("script", "ours, a script", "script-bare", _no_server),
    # Each measure of runpushserver alone:
    Contender("stock", "Daphne as it comes", "stock", tuned_daphne()),
    *(
        Contender(f"stock+{name}", title, "stock", tuned_daphne(name))
        for name, title in MEASURES.items()
    ),
    Contender("stock+all", "all of them", "stock", tuned_daphne(*MEASURES)),
)

CONTENDERS = {contender.name: contender for contender in _ALL}
