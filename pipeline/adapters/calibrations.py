"""Calibrations, kept on disk by their inputs: what one process has simulated, the next one reads."""

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from pipeline import calibration, noise


def keep(folder: Path) -> None:
    """Let this process look calibrations up in a folder, and write there what it had to simulate."""
    calibration.known = _kept(folder)


@functools.cache
def _kept(folder: Path) -> Callable[[int, int, int], np.ndarray]:
    # They are what this code makes of their inputs: other code has a folder of its own.
    code = "".join(map(inspect.getsource, (calibration, noise))) + np.__version__
    return functools.cache(functools.partial(_read, folder / hashlib.sha256(code.encode()).hexdigest()[:12]))


def _read(folder: Path, step: int, references: int, points: int) -> np.ndarray:
    file = folder / f"{step}-{references}-{points}.npy"
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (FileNotFoundError, EOFError, ValueError):
        # Not there, or cut short by a power failure.
        found = calibration.exceeded(step, references, points)
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, delete=False) as written:
        np.save(written, found)
    Path(written.name).replace(file)
    return found
