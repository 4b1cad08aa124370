"""A lock between processes of one machine; the kernel frees it when its holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import Temporary


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; Temporary when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Temporary(f"{what}: another run is under way on this machine; it is tried again later") from error
        yield
