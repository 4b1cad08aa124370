"""What an inspection found, printed for people as it is found: a section a model, a line a finding."""

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.errors import ZetaError

_MARKS = {"good": ("✓", "green"), "note": ("!", "yellow"), "fault": ("✗", "bold red")}
# In a log every finding is one line, so that it can be searched for.
_LOG_WIDTH = 10_000


class Findings:
    """The report on one model after the other."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)
        self._status = self._console.status("")
        self._name, self._doing = "", ""
        self.faults: dict[str, int] = {}

    def section(self, name: str) -> None:
        """Begin with another model."""
        self._name = name
        self.faults[name] = 0
        self._console.print(Text(name, "bold"))

    def attempt(self, part: str, *steps: Callable[[], Any]) -> list[Any] | None:
        """Do all steps and return what they return; None when one failed, and then each different fault is told."""
        results, faults = [], []
        for step in steps:
            try:
                with self._status:
                    results.append(step())
            except ZetaError as error:
                # The faults of a model.yaml come a line each; any other text is of one.
                faults += str(error).splitlines() if part == "config" else [" ".join(str(error).split())]
            # A model's own code may raise anything, and even leave: neither may end the inspection of the others.
            except (Exception, SystemExit) as error:
                faults.append(f"{self._doing}: {type(error).__name__}: {' '.join(str(error).split())}")
        for fault in dict.fromkeys(faults):
            self._line("fault", part, fault)
            self.faults[self._name] += 1
        return None if faults else results

    def doing(self, text: str) -> None:
        """Show what the step at work is doing, until the next call."""
        self._doing = text
        self._status.update(f"{self._name}: {text}")

    def good(self, part: str, text: str) -> None:
        """Tell that something is as it should be."""
        self._line("good", part, text)

    def note(self, part: str, text: str) -> None:
        """Tell something that is no fault, yet may not be meant."""
        self._line("note", part, text)

    def show(self, thing: RenderableType) -> None:
        """Show a table."""
        self._console.print(Padding(thing, (0, 0, 0, 14), expand=False))

    def end(self) -> None:
        """Close with a word on each model."""
        told = {name: f"{count} fault{'s' * (count > 1)}" if count else "good" for name, count in self.faults.items()}
        self._console.print(Text("; ".join(f"{name}: {text}" for name, text in told.items()), "bold"))

    def _line(self, kind: str, part: str, text: str) -> None:
        mark, style = _MARKS[kind]
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right", style=style)
        grid.add_column(width=9)
        grid.add_column(overflow="fold")
        grid.add_row(mark, part, Text(text))
        self._console.print(grid)
