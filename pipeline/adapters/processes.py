"""Detached processes of this machine: each has a name, a pid file and a log, and outlives who started it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import Permanent

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_POLL_SECONDS = 0.02
_SECONDS = 5.0
# A process records itself before it becomes the command, so none is lost when its starter is killed.
_RECORD = (
    f"read -r boot < {_BOOT}; read -r stat < /proc/$$/stat; "
    """printf '%s\\n%s\\n' "$boot" "$stat" > "$0"; exec "$@" """
)


class _Stat(NamedTuple):
    """What /proc/PID/stat says. Pid and start time (clock ticks since boot) name one process of one boot."""

    pid: int
    state: str
    group: int
    started: int


class Processes:
    """Processes whose pid files lie in ``run``, and whose output is appended to ``log``/NAME.log."""

    def __init__(self, run: Path, log: Path) -> None:
        self._run = run
        self._log = log

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._log / f"{name}.log"

    def alive(self, name: str) -> bool:
        """Return whether the process of this name runs."""
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """Return the pid of a process that runs, else None."""
        recorded = self._recorded(name)
        now = _stat(recorded.pid) if recorded else None
        return now.pid if now and recorded and now.started == recorded.started and now.state != "Z" else None

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
        """Start a process in a session of its own unless it runs already; return its pid.

        Raises Permanent when it cannot be started. A command that fails says so in its log.
        """
        with self._locked(name):
            running = self.pid(name)
            if running is not None:
                return running
            self._log.mkdir(parents=True, exist_ok=True)
            command = ["/bin/sh", "-c", _RECORD, str(self._file(name)), *argv]
            with self.log(name).open("ab") as log:
                try:
                    child = subprocess.Popen(
                        command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                        start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    raise Permanent(f"{name}: {argv[0]} does not start in {cwd}: {error}") from error
            _poll(lambda: child.poll() is not None or self._is_recorded(name, child.pid), _SECONDS)
            # It is to outlive this process: without this, Python warns that nobody waited for it.
            child.returncode = 0
            return child.pid

    def stop(self, name: str, grace: float = 10.0) -> None:
        """End a process and its group: SIGTERM, and SIGKILL for what is left after ``grace`` seconds."""
        with self._locked(name):
            recorded = self._recorded(name)
            if recorded is None:
                return
            leader = _stat(recorded.pid)
            if leader is None or leader.started == recorded.started:
                end_group(recorded.pid, grace)
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._run / f"{name}.pid"

    def _recorded(self, name: str) -> _Stat | None:
        try:
            boot, stat = self._file(name).read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return None
        return _parsed(stat) if boot == _BOOT.read_text().strip() else None

    def _is_recorded(self, name: str, pid: int) -> bool:
        recorded = self._recorded(name)
        return recorded is not None and recorded.pid == pid

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._run.mkdir(parents=True, exist_ok=True)
        with (self._run / f"{name}.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            yield


def end_group(group: int, grace: float) -> None:
    """End all processes of a group: SIGTERM, and SIGKILL for those that are left after ``grace`` seconds."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _SECONDS)):
        if not _members(group):
            return
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        if _poll(lambda: not _members(group), seconds):
            return
    raise Permanent(f"the processes {_members(group)} do not end, not even of SIGKILL; look at them with ps")


def last_lines(log: Path, count: int = 15) -> str:
    """Return the last lines of a log; empty when there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 200 * count))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def _members(group: int) -> list[int]:
    stats = (_stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [stat.pid for stat in stats if stat and stat.group == group and stat.state != "Z"]


def _stat(pid: int) -> _Stat | None:
    try:
        return _parsed(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parsed(stat: str) -> _Stat:
    # The second field is the command's name in parentheses and may hold anything, spaces and parentheses too.
    fields = stat.rpartition(")")[2].split()
    return _Stat(int(stat.split()[0]), fields[0], int(fields[2]), int(fields[19]))


def _poll(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
