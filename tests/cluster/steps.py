"""A step: told with the time it takes, made of commands and of waits; Failed says why it cannot be done.

It is told on standard error, so that a shell can read standard output.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

CONSOLE = Console(stderr=True, highlight=False, soft_wrap=True)


class Failed(Exception):
    """The cluster cannot be had: what is wrong, and what to do next."""


@contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """Show a step and the time it takes; give a function that tells how far it is."""
    begin = time.monotonic()

    def say(text: str) -> None:
        CONSOLE.print(f"{time.monotonic() - begin:7.1f} s  {text}", markup=False)

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as shown:
        task = shown.add_task(title, total=None)
        tell = say if shown.disable else lambda text: shown.update(task, description=text)
        yield lambda far: tell(f"{title}: {far}")
    say(title)


def run(*command: str | Path, given: str | None = None, cwd: Path | None = None, **variables: str) -> str:
    """Run a command; return what it prints. Raises Failed with what it prints on standard error."""
    environment = os.environ | variables
    done = subprocess.run(command, input=given, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout


def wait(what: str, ready: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until something is so. Raises Failed when it takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.1)
