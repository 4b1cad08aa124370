"""Appending a model to an image, against hashing and copying the same bytes in the same run.

python -m tests.bench.bench_image [REPEATS]
"""

import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import image
from pipeline.adapters.oci import Layout
from pipeline.settings import ROOT

SIZES = (5, 50, 200)


def seconds(action: Callable[..., object], *arguments: object) -> float:
    """Return the wall time of an action; what was written before it is on the disk already."""
    os.sync()
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def hash_and_copy(source: Path, target: Path) -> None:
    """The peer: the least that any content-addressed store has to do."""
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    shutil.copyfile(source, target)


def measure(size: int, repeats: int, folder: Path) -> tuple[float, float]:
    """Return the median seconds of the peer and of the append of ``size`` bytes, measured in turn."""
    model = folder / "model"
    model.mkdir()
    (model / "model.skops").write_bytes(os.urandom(size))
    peer, append = [], []
    for i in range(repeats):
        layout = Layout(folder / f"layout{i}")
        base = layout.build_base(image.application(ROOT))
        peer.append(seconds(hash_and_copy, model / "model.skops", folder / f"copy{i}"))
        append.append(seconds(layout.append_model, base, {"/model": model}, {}, "bench:1"))
        (folder / f"copy{i}").unlink()
        shutil.rmtree(layout.path)
    return statistics.median(peer), statistics.median(append)


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    table = Table(title=f"Image append, median of {repeats}")
    for column in ("model MB", "hash + copy s", "append s", "ratio"):
        table.add_column(column, justify="right")
    for size in track(SIZES, "measuring", console=Console(stderr=True)):
        with tempfile.TemporaryDirectory() as folder:
            peer, append = measure(size * 1_000_000, repeats, Path(folder))
        table.add_row(str(size), f"{peer:.3f}", f"{append:.3f}", f"{append / peer:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
