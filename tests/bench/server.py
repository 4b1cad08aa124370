"""A server for as long as a bench needs it, on the loopback address."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from pipeline.adapters.processes import end_group, last_lines

START_SECONDS = 120
POLL_SECONDS = 0.1


@contextmanager
def running(command: Sequence[str], health: str, log: Path, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Start a server, wait until the URL ``health`` answers, give its process group, and end it."""
    if not Path(command[0]).exists():
        raise SystemExit(f"{command[0]} is missing; install it: make install")
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **(env or {})}, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not healthy(health):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not start; its log ends with:\n{last_lines(log)}")
            time.sleep(POLL_SECONDS)
        yield server.pid
    finally:
        end_group(server.pid, 10)
        server.wait()


def healthy(url: str) -> bool:
    """Tell whether a URL answers with success."""
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=5, trust_env=False).is_success
    return False


def cpu_seconds(group: int) -> float:
    """Return the user and system time that the processes of a group have used."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            # After the command's name, which may hold anything: state, parent, group, ... user and system time.
            fields = stat.read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) if int(fields[2]) == group else 0
    return total / os.sysconf("SC_CLK_TCK")
