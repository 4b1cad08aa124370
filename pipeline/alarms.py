"""The alarms of many simulated champions at once: what ``detectors`` finds morning after morning, for each of them."""

import math
from collections.abc import Iterator, Mapping

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
        mornings, end = np.flatnonzero(known == blocks), blocks * references
        old, weekdays = losses[:end].T.reshape(-1, blocks, references), days[:end].reshape(-1, references)
        week, power = noise.spectrum(old, weekdays, daily)
        weights = noise.weights(power, blocks, references, drop, wander)
        rest = (losses - week[:, days].T)[begin : begin + references + mornings[-1] + 1]
        for name, alarmed in _alarmed(rest, references, weights, drop, a_year, alpha):
            found[name][mornings] = alarmed[mornings]
    return found


def _alarmed(
    losses: np.ndarray, references: int, weights: np.ndarray, drop: float, a_year: int, alpha: Mapping[str, float]
) -> Iterator[tuple[str, np.ndarray]]:
    """Give each detector, and (n, champions) whether it alarms, when ``weights`` are what is known of the noise."""
    mean, since = losses[:references].mean(axis=0), losses[references:]
    for name, size in sizes(drop).items():
        if name in alpha:
            level = calibration.threshold(weights, size, references, a_year, alpha[name])
            yield name, calibration.cusum(since, mean, size) > level
    if GUARANTEE in alpha:
        path = calibration.detector(since, mean, drop, noise.long_run_variance(weights, CERTAINTY))
        yield GUARANTEE, path > math.log(a_year / alpha[GUARANTEE])
