"""Serves one model over HTTP until SIGTERM: ``python -m pipeline.serving.server --model DIR --port N``."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import uvicorn

from pipeline.errors import ZetaError
from pipeline.serving import served
from pipeline.serving.app import App
from pipeline.serving.query import Limits

GRACE_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
_LOG = logging.getLogger("zeta.serving")


@dataclass(frozen=True)
class Listeners:
    """Sockets to accept from: ``own`` always; ``shared``, from which other servers accept too, when ready.

    ``even_unready``: no other server is ready, so clients of ``shared`` better hear why than wait.
    """

    own: socket.socket
    shared: socket.socket | None = None
    even_unready: bool = False


class _Server(uvicorn.Server):
    """uvicorn that stops without a failed request.

    First it closes its listeners alone. Connections stay open, and each answer on them asks the client to
    close; those that are idle after half the grace time are closed, requests in flight have all of it.
    """

    def __init__(self, app: App, grace: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http="httptools",
                loop="uvloop",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(grace / 2)),
            )
        )
        self.unfinished = 0
        self._app = app
        self._idle_seconds = grace / 2

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on SIGTERM and SIGINT and then exit with 0: uvicorn itself would die of the signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let the clients close their connections, then close what is left."""
        self._app.stopping = True
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._idle_seconds
        while self.server_state.connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        self.unfinished = self._app.in_flight


def serve(
    model: Path,
    app_root: Path,
    listeners: Listeners,
    version: str = "",
    digest: str = "",
    limits: Limits | None = None,
    grace: float = GRACE_SECONDS,
) -> None:
    """Serve a model directory until SIGTERM; Permanent or ConfigError when it cannot be loaded.

    ``app_root`` holds models/<name>/ with the model's own code; ``grace`` is how many seconds to stop in.
    When the fingerprint or golden predictions differ, the server stays up, answers /v2/health/ready with what
    differs, and refuses to predict.
    """
    release = served.load(model, app_root, version, digest)
    app = App(release, limits)
    sockets = [listeners.own]
    if release.faults:
        _LOG.error("%s", release.fault)
    if listeners.shared is not None and (listeners.even_unready or not release.faults):
        sockets.append(listeners.shared)
    for listener in sockets:
        _LOG.info("%s version %s on %s port %d", release.manifest.name, version or "-", *listener.getsockname()[:2])
    server = _Server(app, grace)
    server.run(sockets)
    if server.unfinished:
        _LOG.error("%d requests did not end within %s seconds", server.unfinished, grace)
        # Python would wait for the thread in which the model still works.
        os._exit(0)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. OSError when the port is taken."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)


def main() -> int:
    """Read the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="pipeline.serving.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model directory")
    parser.add_argument("--app-root", type=Path, default=Path(), help="holds models/<name>/; default: here")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="0 takes a free one")
    where.add_argument("--fd", type=int, help="an inherited socket")
    parser.add_argument("--shared-fd", type=int, help="an inherited socket to accept from when ready")
    parser.add_argument("--even-unready", action="store_true", help="accept from it in any case")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--version", default="", help="of the model")
    parser.add_argument("--digest", default="", help="of the image")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="seconds to stop in")
    for limit in fields(Limits):
        parser.add_argument(f"--max-{limit.name.replace('_', '-')}", type=int, default=limit.default)
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    limits = Limits(**{limit.name: getattr(given, f"max_{limit.name}") for limit in fields(Limits)})
    try:
        own = bound(given.host, given.port) if given.fd is None else socket.socket(fileno=given.fd)
        shared = None if given.shared_fd is None else socket.socket(fileno=given.shared_fd)
        listeners = Listeners(own, shared, given.even_unready)
        serve(given.model, given.app_root, listeners, given.version, given.digest, limits, given.grace)
    except (ZetaError, OSError) as error:
        _LOG.error("%s", error)
        return error.exit_code if isinstance(error, ZetaError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
