"""The alarms of many simulated champions at once: what ``detectors`` finds morning after morning, for each of them."""

import math
from collections.abc import Mapping

import numpy as np

from pipeline import calibration, history, noise
from pipeline.detectors import CERTAINTY, GUARANTEE, sizes


def of(
    losses: np.ndarray,
    references: int,
    drop: float,
    a_year: int,
    alpha: Mapping[str, float],
    daily: bool = True,
    earlier: int = 0,
    wander: float = noise.WANDER,
) -> dict[str, np.ndarray]:
    """Return, of the detectors in ``alpha``, (n, champions) whether each alarms: ``detectors.state`` for many at once.

    ``losses`` ((earlier + 1) * references + n, champions), in units of the sampling noise, begin with ``earlier`` other
    references; ``daily``: each is of one day. ``alpha``, ``a_year``: what a detector has of a year's false alarms, and
    the points of a year.
    """
    begin, days = earlier * references, np.arange(len(losses)) % 7
    points = len(losses) - begin - references
    known = np.array([history.settled(references + n + 1, references) for n in range(points)]) // references + earlier
    found = {name: np.zeros((points, losses.shape[1]), bool) for name in alpha}
    for blocks in np.unique(known):
        mornings = np.flatnonzero(known == blocks)
        week, power = _periodogram(losses, days, blocks, references, daily)
        weights = noise.weights(power, blocks, references, drop, wander)
        rest = (losses - week[:, days].T)[begin : begin + references + mornings[-1] + 1]
        mean, since = rest[:references].mean(axis=0), rest[references:]
        for name, size in sizes(drop).items():
            if name in alpha:
                level = calibration.threshold(weights, size, references, a_year, alpha[name])
                found[name][mornings] = calibration.cusum(since, mean, size)[mornings] > level
        if GUARANTEE in alpha:
            path = calibration.detector(since, mean, drop, noise.long_run_variance(weights, CERTAINTY))
            found[GUARANTEE][mornings] = path[mornings] > math.log(a_year / alpha[GUARANTEE])
    return found


def _periodogram(
    losses: np.ndarray, days: np.ndarray, blocks: int, length: int, daily: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return (champions, 7) what is usual on a day of the week, and the power of the rest of the first blocks."""
    old, weekdays = losses[: blocks * length].T.reshape(-1, blocks, length), days[: blocks * length].reshape(-1, length)
    week = noise.weekly(old, weekdays) if daily else np.zeros((len(old), 7))
    return week, noise.periodogram(old - week[:, weekdays]).sum(axis=1)
