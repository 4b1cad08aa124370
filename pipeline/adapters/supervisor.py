"""Keeps the servers of a model as its desired.json says: ``python -m pipeline.adapters.supervisor NAME``.

The supervisor holds the socket of the stable address and accepts nothing itself. A server of the stable role
inherits it and accepts from it once it is ready, so at a promotion the old and the new one share one queue of
connections and none is lost; while a dead server is started anew, its clients wait. Each server has a socket
of its own too, which says whether it is ready.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import settings
from pipeline.adapters.releases import Desired, Observed, Releases, Seen, Wanted
from pipeline.adapters.replica import Replica
from pipeline.errors import ZetaError

if TYPE_CHECKING:
    # Not at run time: it loads numpy, and there is one supervisor a model.
    from pipeline.rollout import Role

LOOK_AGAIN = signal.SIGHUP
STOP_SECONDS = 15.0
_END = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (signal.SIGCHLD, LOOK_AGAIN, *_END)
_BUSY_SECONDS = 0.1
_IDLE_SECONDS = 5.0
_LOG = logging.getLogger("zeta.supervisor")
Key = tuple["Role", Wanted]


def goal(desired: Desired, serving: Wanted | None) -> set[Key]:
    """Return what is to run: what is desired, and what serves until the desired stable one is ready."""
    keys: set[Key] = set()
    if desired.stable is not None:
        keys |= {("stable", desired.stable), ("stable", serving or desired.stable)}
    if desired.canary is not None:
        keys.add(("canary", desired.canary))
    return keys


class Supervisor:
    """The servers of one model. ``step`` brings them nearer to what is desired, ``stop`` ends them."""

    def __init__(self, releases: Releases, listener: socket.socket, log: Path) -> None:
        self._releases = releases
        self._listener = listener
        self._log = log
        self._desired = Desired()
        self._published: Observed | None = None
        self._replicas: dict[Key, Replica] = {}
        self._stopping: dict[subprocess.Popen[bytes], float] = {}
        before = releases.observed()
        self._serving = before.serving if before else None

    @property
    def busy(self) -> bool:
        """Whether the next step is due soon."""
        return bool(self._stopping) or any(replica.waiting for replica in self._replicas.values())

    def step(self) -> None:
        """Take up what is desired, move each server on, publish what is observed."""
        desired = self._releases.desired()
        if desired.generation != self._desired.generation:
            self._retire([key for key, replica in self._replicas.items() if replica.state == "failed"])
        self._desired = desired
        keys = goal(desired, self._serving)
        for role, wanted in keys - self._replicas.keys():
            log = self._log / f"{self._releases.folder.name}-{role}.log"
            self._replicas[role, wanted] = Replica(role, wanted, self._listener, log)
        for replica in self._replicas.values():
            replica.serving = replica.wanted == self._serving
            replica.check()
        self._hand_over()
        keys = goal(desired, self._serving)
        self._retire([key for key in self._replicas if key not in keys])
        self._reap()
        self._publish()

    def stop(self) -> None:
        """Let all servers drain and end."""
        self._retire(list(self._replicas))
        while self._stopping:
            self._reap()
            time.sleep(_BUSY_SECONDS)

    def _hand_over(self) -> None:
        stable = self._desired.stable
        incoming = self._replicas.get(("stable", stable)) if stable else None
        if stable is None or (incoming is not None and incoming.state == "ready"):
            self._serving = stable

    def _retire(self, keys: list[Key]) -> None:
        for key in keys:
            process = self._replicas.pop(key).process
            if process is not None:
                process.terminate()
                self._stopping[process] = time.monotonic() + STOP_SECONDS

    def _reap(self) -> None:
        for process, deadline in list(self._stopping.items()):
            if process.poll() is not None:
                del self._stopping[process]
            elif time.monotonic() > deadline:
                process.kill()

    def _publish(self) -> None:
        stable = self._serving or self._desired.stable
        incoming = self._desired.stable if self._desired.stable != stable else None
        observed = Observed(
            self._desired.generation,
            os.getpid(),
            self._seen("stable", stable),
            self._seen("stable", incoming),
            self._seen("canary", self._desired.canary),
            [process.pid for process in self._stopping],
            self._serving,
        )
        if observed != self._published:
            self._releases.write(observed)
            self._published = observed

    def _seen(self, role: "Role", wanted: Wanted | None) -> Seen | None:
        return self._replicas[role, wanted].seen() if wanted else None


def run(name: str) -> int:
    """Supervise a model until SIGTERM; return the exit code. Only one supervisor a model runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    here = settings.load()
    releases = Releases(here.home, name)
    releases.folder.mkdir(parents=True, exist_ok=True)
    log = here.home / "log"
    log.mkdir(parents=True, exist_ok=True)
    with (releases.folder / "lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            _LOG.error("%s: another supervisor runs already", name)
            return 1
        try:
            with releases.listener(here.model_port, STOP_SECONDS) as listener:
                _until_ended(Supervisor(releases, listener, log))
        except ZetaError as error:
            _LOG.error("%s: %s", name, error)
            return error.exit_code
    return 0


def _until_ended(supervisor: Supervisor) -> None:
    caught = None
    while caught is None or caught.si_signo not in _END:
        try:
            supervisor.step()
        except Exception:
            # A full disk, say: the servers go on, and the next step tries again.
            _LOG.exception("a step failed")
        caught = signal.sigtimedwait(_SIGNALS, _BUSY_SECONDS if supervisor.busy else _IDLE_SECONDS)
    supervisor.stop()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(prog="pipeline.adapters.supervisor", description=__doc__)
    parser.add_argument("name", help="of the model")
    sys.exit(run(parser.parse_args().name))
