"""Parsing many model.yaml with every check, against plain YAML loading of the same files in the same run.

python -m tests.bench.bench_config [REPEATS]
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import config
from pipeline.settings import ROOT

COUNTS = (10, 100, 1000)
MODEL = "type"


def copies(models: Path, count: int) -> None:
    """Write copies of a shipped model under names of their own."""
    for number in range(count):
        folder = models / f"{MODEL}-{number}"
        shutil.copytree(ROOT / "models" / MODEL, folder, ignore=shutil.ignore_patterns("__pycache__"))
        described = folder / "model.yaml"
        text = described.read_text(encoding="utf-8").replace(f"name: {MODEL}\n", f"name: {folder.name}\n")
        described.write_text(text, encoding="utf-8")


def plain(path: Path) -> object:
    """The peer: the values, unchecked and without lines."""
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


def milliseconds(load: Callable[[Path], object], models: Path) -> float:
    """Return the wall time a config of loading them all."""
    start = time.perf_counter()
    loaded = [load(path) for path in config.paths(models)]
    return (time.perf_counter() - start) / len(loaded) * 1000


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    table = Table(title=f"Parsing model.yaml, ms a config, median of {repeats}")
    for column in ("configs", "CSafeLoader", "config.load", "ratio"):
        table.add_column(column, justify="right")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            copies(Path(folder), count)
            turns = track(range(repeats), f"{count} configs", console=Console(stderr=True))
            times = [(milliseconds(plain, Path(folder)), milliseconds(config.load, Path(folder))) for _ in turns]
        peer, ours = (statistics.median(one) for one in zip(*times, strict=True))
        table.add_row(str(count), f"{peer:.2f}", f"{ours:.2f}", f"{ours / peer:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
