"""A backtest for people: what each policy came to, the mornings on which something happened, and its files."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.backtest import chart
from pipeline.backtest.outcome import ALWAYS, POLICIES, ZETA, Backtest, Morning
from pipeline.figures import figure
from pipeline.verdict import Decision

_WIDTH = 120
MEANINGS = ("Zeta", "never retraining", "retraining always")
"""Of the policies, in words."""


def show(found: Backtest) -> None:
    """Print it to stdout."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=_WIDTH, highlight=False)
    console.print(_policies(found))
    counted = ", ".join(f"{what} {count}" for what, count in found.counts().items())
    console.print(Text(f"What Zeta would have done: {counted}\n"))
    console.print(_events(found.mornings))


def write(found: Backtest, folder: Path) -> list[Path]:
    """Write backtest.json and backtest.png into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backtest.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    chart.draw(found, folder / "backtest.png")
    return [folder / "backtest.json", folder / "backtest.png"]


def _policies(found: Backtest) -> Table:
    table = Table(title=f"{found.model}, {found.first} to {found.last}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("policy")
    for column in (f"mean {found.score}", "fits", "seconds of fitting", "saved by Zeta"):
        table.add_column(column, justify="right")
    means = found.means()
    for policy, meaning in zip(POLICIES, MEANINGS, strict=True):
        cost = found.costs[policy]
        saved = f"{1 - found.costs[ZETA].fits / cost.fits:.0%} of the fits" if policy == ALWAYS else ""
        table.add_row(meaning, figure(means[policy]) or "-", str(cost.fits), f"{cost.seconds:.1f}", saved)
    return table


def _events(mornings: list[Morning]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in ("morning", "champion", "verdict", "challenger", "gate", "why"):
        table.add_column(column)
    for one in _told(mornings):
        table.add_row(
            f"{one.at:%Y-%m-%d}", one.champion or "none", one.verdict, one.challenger or "", one.gate or "",
            Text(one.failed or (one.gate_reasons or one.reasons)[0]),
        )  # fmt: skip
    return table


def _told(mornings: list[Morning]) -> Iterator[Morning]:
    """Yield the mornings that trained, or tried to, and the first of each time without a judgement."""
    before = None
    for one in mornings:
        silent = one.verdict in (Decision.DATA_BAD, Decision.INSUFFICIENT)
        if one.challenger or one.failed or (silent and one.verdict != before):
            yield one
        before = one.verdict
