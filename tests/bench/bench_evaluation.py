"""An evaluation of a million rows, against a loop that only reads, tokenises and predicts them, in the same run.

python -m tests.bench.bench_evaluation [ROWS [REPEATS]]
"""

import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import artifact, config, data, evaluation, listings, scores, training
from pipeline.adapters.batch import Batch
from pipeline.adapters.sql import BATCH_ROWS, SqlSource
from pipeline.data import Window
from pipeline.evaluation import Subject
from pipeline.manifest import Manifest
from pipeline.settings import ROOT
from tests.bench import marketplace

LOOP = "the loop"
SCORES = ("accuracy", "macro_f1")
LIMIT_MIB = 1024
FIRST = date(2025, 1, 1)
PER_DAY = 20_000
MODEL = "app/models/branch/model.yaml"


@dataclass(frozen=True)
class Cost:
    """What a number of rows cost."""

    rows: int
    peak_mib: float
    seconds: float
    cpu_seconds: float


def prepare(folder: Path, rows: int) -> Window:
    """Write the listings and a model of the first day's; return the days after it, which hold about ``rows`` rows."""
    days = rows // PER_DAY + 1
    listings.write(f"sqlite:///{folder}/listings.db", FIRST, FIRST + timedelta(days=1 + days), PER_DAY, seed=7)
    settings = marketplace.add(folder / "app/models", "branch", "branch")
    (folder / "app/pipeline").symlink_to(ROOT / "pipeline")
    first = (FIRST - data.EPOCH).days
    windows = training.Split(Window(first, first + 1), Window(first + 1, first + 1 + days))
    known = training.rows(data.read(source(folder), settings, windows.training), settings, windows.training, None)
    own = artifact.code("branch", settings.folder / settings.code)
    training.train(settings, own, known, windows, lambda model: 0.0, None, folder / "model")
    return windows.gate


def source(folder: Path) -> SqlSource:
    """Return the listings."""
    return SqlSource(f"sqlite:///{folder}/listings.db")


def evaluate(folder: Path, window: Window, score: str) -> tuple[int, float]:
    """Evaluate as a morning does; return how many rows, and the most memory that was resident."""
    settings, directory = config.load(folder / MODEL), folder / "model"
    seen = np.load(directory / "keys.npy", allow_pickle=False)
    with Batch.of(directory, folder / "app") as batch:
        champion = Subject(Manifest.read(directory).features, batch.predict)
        rows = data.read(source(folder), settings, window)
        scored = evaluation.score_rows(rows, {"": champion}, scores.get(score), settings, seen, "")
        usual = training.record(directory).profile
        found = evaluation.evaluate(scored.tallies[""], scored.profiles, usual, settings, window.first, window)
        return found.rows, peak_mib()


def loop(folder: Path, window: Window, _: str) -> tuple[int, float]:
    """The peer: the same query by the database's own driver, the same model in the same process, and no score."""
    settings = config.load(folder / MODEL)
    model = artifact.load(folder / "model")
    first, end = (data.midnight(day, settings).astimezone(UTC) for day in (window.first, window.end))
    bound = {"start": f"{first:%Y-%m-%d %H:%M:%S}", "end": f"{end:%Y-%m-%d %H:%M:%S}"}
    cursor, count = sqlite3.connect(folder / "listings.db").execute(marketplace.query("branch"), bound), 0
    while rows := cursor.fetchmany(BATCH_ROWS):
        model.estimator.predict(pd.DataFrame({"title": [row[2] for row in rows]}, dtype=object))
        count += len(rows)
    return count, peak_mib()


def cost(action: Callable[..., tuple[int, float]], *arguments: object) -> Cost:
    """Do it in this process, and count its children's CPU seconds too."""
    started, used = time.perf_counter(), sum(os.times()[:4])
    rows, peak = action(*arguments)
    return Cost(rows, peak, time.perf_counter() - started, sum(os.times()[:4]) - used)


def peak_mib() -> float:
    """Return the most memory that this process and its children that live have had resident, added up."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    status = [Path(f"/proc/{pid}/status").read_text() for pid in (own, *children)]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in status) / 1024


def measure(folder: Path, window: Window, repeats: int) -> dict[str, list[Cost]]:
    """Measure the loop and each score in turn, each time in a new process."""
    costs: dict[str, list[Cost]] = {name: [] for name in (LOOP, *SCORES)}
    turns = [name for _ in range(repeats) for name in costs]
    for name in track(turns, "measuring", console=Console(stderr=True)):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            costs[name].append(process.apply(cost, (loop if name == LOOP else evaluate, folder, window, name)))
    return costs


def main() -> int:
    """Print the table; 1 when an evaluation needs more memory than it may have."""
    rows, repeats = (int(given) for given in (sys.argv[1:] + ["1000000", "3"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder), prepare(Path(folder), rows), repeats)
    table = Table(title=f"Evaluation of {costs[LOOP][0].rows:,} titles, 156 classes, median of {repeats}")
    for column in ("", "rows/s", "time: ratio", "CPU time: ratio", "peak MiB"):
        table.add_column(column, justify="right")
    peaks = {name: max(cost.peak_mib for cost in found) for name, found in costs.items()}
    for name, found in costs.items():
        seconds, cpu = (
            [statistics.median(getattr(cost, kind) for cost in costs[one]) for one in (name, LOOP)]
            for kind in ("seconds", "cpu_seconds")
        )
        ratios = f"{seconds[0] / seconds[1]:.2f}", f"{cpu[0] / cpu[1]:.2f}"
        table.add_row(name, f"{found[0].rows / seconds[0]:,.0f}", *ratios, f"{peaks[name]:.0f}")
    Console().print(table)
    over = [name for name in SCORES if peaks[name] > LIMIT_MIB]
    for name in over:
        print(f"the evaluation of {name} took {peaks[name]:.0f} MiB; at most {LIMIT_MIB} are allowed", file=sys.stderr)
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
