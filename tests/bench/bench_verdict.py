"""A verdict from a year of history, against reading that history from a real MLflow server in the same run.

python -m tests.bench.bench_verdict [REPEATS]
"""

import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import calibration, detection, noise
from pipeline.adapters import calibrations
from pipeline.adapters.registry import Registry, Version
from pipeline.config import Degradation
from pipeline.detectors import Others, Split
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Verdict
from tests.bench.bench_morning import platform

REFERENCE, YEAR, ROWS, SLICES, CHAMPIONS, MOST = 28, 365, 2000, 8, 2, 50
RULE = Degradation(smallest_drop=0.02, false_alarms_per_year=0.05)
MORNING = Evaluation("the newest week", 7 * ROWS, 0.85, 0.84, 0.86, [], [], [], [])
CHAMPION = Version("verdict", "1", "", "")
READING = "reading the history from MLflow"


def history(seed: int, days: int, rows: int = ROWS, level: float = 0.15) -> list[Point]:
    """Return a point a day of a model that does not change."""
    losses = np.random.default_rng(seed).binomial(rows, level, days) / rows
    return [Point(day, 1, rows, float(loss), level * (1 - level) / rows) for day, loss in enumerate(losses)]


def split(points: Sequence[Point]) -> Split:
    """Return the reference and the points since."""
    return points[:REFERENCE], points[REFERENCE:]


def verdicts(points: Sequence[Point]) -> dict[str, Callable[[], Verdict]]:
    """Return what is timed: from the score's history alone and from all there can be, with the cache and without."""
    alone = partial(detection.decide, *split(points), MORNING, RULE, ROWS)
    others = Others(
        [history(1 + number, REFERENCE) for number in range(CHAMPIONS)],
        {f"slice {number}": split(history(number, len(points), ROWS // SLICES)) for number in range(SLICES)},
        history(0, len(points), level=0.05),
    )
    full = partial(alone, others=others)
    return {
        "verdict, in a fresh process": partial(anew, alone),
        "verdict on all, in a fresh process": partial(anew, full),
        "verdict, never calibrated before": partial(simulated, alone),
        "verdict on all, never calibrated before": partial(simulated, full),
    }


def anew(decide: Callable[[], Verdict]) -> Verdict:
    """Decide as a process does that has not decided before, where another one has."""
    for known in (calibration.known, noise._spectra, noise._degrees):
        known.cache_clear()
    return decide()


def simulated(decide: Callable[[], Verdict]) -> Verdict:
    """Decide where no process has before."""
    kept, calibration.known = calibration.known, functools.cache(calibration.exceeded)
    try:
        return anew(decide)
    finally:
        calibration.known = kept


def milliseconds(work: Callable[[], object]) -> float:
    """Return the wall time."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder)):
        calibrations.keep(Path(folder) / "calibrations")
        registry, written = Registry(os.environ["MLFLOW_TRACKING_URI"]), history(0, REFERENCE + YEAR)
        registry.add_points(CHAMPION, written, [{} for _ in written])
        parts = {READING: partial(registry.points, CHAMPION)} | verdicts(registry.points(CHAMPION))
        for part in parts.values():
            part()
        turns = track(range(repeats), "verdicts", console=Console(stderr=True))
        times = [{name: milliseconds(part) for name, part in parts.items()} for _ in turns]
    table = Table(
        title=f"A verdict from {REFERENCE} + {YEAR} days of history, median of {repeats}",
        caption=f"all: with {SLICES} slices, a control and {CHAMPIONS} earlier champions",
    )
    table.add_column("")
    for column in ("ms", "ratio", f"at most {MOST} ms"):
        table.add_column(column, justify="right")
    medians = {name: statistics.median(turn[name] for turn in times) for name in parts}
    for name, median in medians.items():
        kept = "" if name == READING else "kept" if median <= MOST else "missed"
        table.add_row(name, f"{median:.1f}", f"{median / medians[READING]:.2f}", kept)
    Console().print(table)


if __name__ == "__main__":
    main()
