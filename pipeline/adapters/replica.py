"""One server process of a release: started, asked whether it is ready, started again when it dies."""

import ctypes
import http.client
import logging
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.adapters.bundle import Bundle
from pipeline.adapters.releases import HOST, Seen, State, Wanted

if TYPE_CHECKING:
    from pipeline.rollout import Role

START_SECONDS = 120.0
_STEADY_SECONDS = 60.0
_MOST_BACKOFF_SECONDS = 30
_PROBE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_LOG = logging.getLogger("zeta.supervisor")


class Replica:
    """A server of ``wanted``, moved on by ``check``.

    One of the stable role accepts from ``listener`` once it is ready, and is started again when it dies.
    ``serving``: it is the one that the stable address has, so it answers there even when it is not ready.
    """

    def __init__(self, role: "Role", wanted: Wanted, listener: socket.socket, log: Path) -> None:
        self.role = role
        self.wanted = wanted
        self.state: State = "starting"
        self.serving = False
        self.process: subprocess.Popen[bytes] | None = None
        self._listener = listener
        self._log = log
        self._port = 0
        self._since = 0.0
        self._next_start = 0.0
        self._deaths = 0
        self._restarts = 0
        self._refused = False
        self._error = ""

    @property
    def waiting(self) -> bool:
        """Whether something is to come of which no signal tells."""
        return self.state != "ready" and not self._refused and self._next_start < math.inf

    def check(self) -> None:
        """Look at the process, and do what is due."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._next_start:
                self._start(now)
        elif (status := self.process.poll()) is not None:
            self._died(f"it exited with status {status}", now)
        elif self.state != "ready" and not self._refused:
            self._probe(now)
        elif now - self._since > _STEADY_SECONDS:
            self._deaths = 0

    def seen(self) -> Seen:
        """Return it as others see it."""
        port = self._listener.getsockname()[1] if self.role == "stable" else self._port
        pid = self.process.pid if self.process else None
        address = f"http://{HOST}:{port}"
        return Seen(self.wanted.version, self.wanted.digest, self.state, address, pid, self._restarts, self._error)

    def _start(self, now: float) -> None:
        self._since = now
        image = Bundle.of_image(Path(self.wanted.root))
        with socket.socket() as own, self._log.open("ab") as log:
            own.bind((HOST, 0))
            self._port = own.getsockname()[1]
            options, fds = ["--fd", str(own.fileno())], [own.fileno()]
            if self.role == "stable":
                options += ["--shared-fd", str(self._listener.fileno()), *["--even-unready"] * self.serving]
                fds.append(self._listener.fileno())
            options += ["--version", self.wanted.version, "--digest", self.wanted.digest]
            try:
                self.process = subprocess.Popen(
                    image.command("pipeline.serving.server", *options),
                    env=image.environment(),
                    cwd=image.app,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=fds,
                    preexec_fn=_die_with(os.getpid()),
                )
            except OSError as error:
                self._died(f"it does not start: {error}", now)

    def _died(self, why: str, now: float) -> None:
        _LOG.error("%s %s: %s", self.role, self.wanted.version, why)
        # The first death of a server that was ready is repaired at once; after that it takes ever longer.
        restarted = self.role == "stable"
        self.state = "starting" if restarted and self.state == "ready" else "failed"
        self._next_start = now + min(2**self._deaths - 1, _MOST_BACKOFF_SECONDS) if restarted else math.inf
        self._deaths += 1
        self._restarts += restarted
        self._refused = False
        self._error = why
        self.process = None

    def _probe(self, now: float) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", "/v2/health/ready")
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            if now - self._since > START_SECONDS:
                self.state, self._error = "failed", f"it was not ready within {START_SECONDS:.0f} seconds"
            return
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.OK:
            self.state, self._since, self._error = "ready", now, ""
            _LOG.info("%s %s is ready", self.role, self.wanted.version)
        else:
            self.state, self._refused = "failed", True
            self._error = str(msgspec.json.decode(body)["error"])


def _die_with(parent: int) -> Callable[[], None]:
    """Return what a child does before it becomes the server: hear signals, get SIGTERM if its parent dies."""

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
