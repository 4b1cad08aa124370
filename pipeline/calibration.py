"""What the detectors compute, and how high each has to stand for an alarm. Pure functions of arrays, time first.

*Fast*: Page's CUSUM (Biometrika 1954), S_i = max(0, S_(i-1) + x_i - m - d/2), with m the mean of the reference and d
the smallest drop. Its threshold is simulated: the level that the highest S of a year of unchanged points exceeds with
the configured probability, averaged over what is known of their noise (``noise.weights``). The simulated champions
estimate m from as many points as the real one, so that the error of m is paid for. *Collapse* is the same for a
larger drop.

*Guarantee*: a Shiryaev-Roberts e-detector (Shin, Ramdas & Rinaldo, NEJSDS 2023), M_i = (M_(i-1) + 1) e_i, with
e_i = exp(l (x_i - m - d/2) - l^2 v / 2), l = d / (2 v). As long as the loss has not risen by more than d/2, M exceeds
T/alpha within T points with a probability of at most alpha. v is an upper bound of the noise's variance.
"""

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from pipeline import noise

SIMULATIONS, SEED = 2000, 0
_LEVELS = np.append(np.geomspace(0.25, 5000, 768), np.inf)
# Drops that differ by less (as logarithms) have one calibration, that of the smallest, which is the strictest.
_DROP_STEP = 0.02


def cusum(losses: np.ndarray, mean: np.ndarray | float, drop: float) -> np.ndarray:
    """Return S after each of (n, ...) losses."""
    level, path = np.zeros(losses.shape[1:], losses.dtype), np.empty_like(losses)
    for index, excess in enumerate(losses - mean - drop / 2):
        level = path[index] = np.maximum(level + excess, 0)
    return path


def detector(losses: np.ndarray, mean: np.ndarray | float, drop: float, variance: np.ndarray | float) -> np.ndarray:
    """Return log M after each of (n, ...) losses; the noise's (...) variance is in their units."""
    bet = drop / 2 / variance
    level, path = np.full(losses.shape[1:], -np.inf), np.empty(losses.shape)
    for index, excess in enumerate(bet * (losses - mean - drop / 2) - bet**2 * variance / 2):
        level = path[index] = np.logaddexp(level, 0) + excess
    return path


def threshold(weights: np.ndarray, drop: float, references: int, points: int, probability: float) -> np.ndarray:
    """Return the (...) level that S exceeds within ``points`` unchanged points with a probability.

    ``weights`` (..., G) are those of ``noise.weights``; drop and level are in units of the sampling noise.
    """
    found = known(math.floor(math.log(drop) / _DROP_STEP), references, points)
    return np.asarray(_LEVELS[np.argmax(weights @ found <= probability, axis=-1)])


def exceeded(step: int, references: int, points: int) -> np.ndarray:
    """Simulate (G, levels): how probably a year's highest S is above each level, for every process of the grid.

    ``step`` is the logarithm of the drop in units of the sampling noise, in steps of 2 %.
    """
    half = np.float32(math.exp(step * _DROP_STEP) / 2)
    losses = noise.simulated(references + points, SIMULATIONS, np.random.default_rng(SEED))
    usual = sum(itertools.islice(losses, references)) / np.float32(references) + half
    level = highest = np.zeros_like(usual)
    for loss in losses:
        level = np.maximum(level + loss - usual, 0)
        highest = np.maximum(highest, level)
    return np.array([1 - np.searchsorted(np.sort(one), _LEVELS, side="right") / SIMULATIONS for one in highest])


known: Callable[[int, int, int], np.ndarray] = functools.cache(exceeded)
"""What ``exceeded`` returns, made once: in this process, or as ``adapters.calibrations`` keeps it."""
