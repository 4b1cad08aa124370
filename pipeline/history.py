"""A history of points, ready for the detectors: what is usual on a day of the week taken out, its noise learnt.

The noise is learnt from the reference, from the points since, and from other histories of the same kind, in blocks as
long as the reference. The newest points do not count: a drop must not pass for noise while it is new.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import noise
from pipeline.tally import Point

_NEW_POINTS = 28
LEAST_NOISE = 1 / 30
"""In smallest drops: of less no more is known than that it is little beside the drop."""


@dataclass(frozen=True)
class History:
    """``mean``: loss of the reference; ``references``: its points; ``since`` (n,): losses after it; ``unit``: the
    standard deviation of a point's sampling noise; ``weights`` (G,): what is known of the noise (``noise.weights``)."""

    mean: float
    references: int
    since: np.ndarray
    unit: float
    weights: np.ndarray

    @property
    def spread(self) -> float:
        """The standard deviation of the true loss from point to point."""
        return float(noise.spread(self.weights)) * self.unit

    def variance(self, probability: float) -> float:
        """Return the long-run variance of a point that the true one does not exceed with a probability."""
        return float(noise.long_run_variance(self.weights, probability)) * self.unit**2


def learn(
    reference: Sequence[Point],
    points: Sequence[Point],
    drop: float,
    earlier: Iterable[Sequence[Point]] = (),
    wander: float = noise.WANDER,
) -> History:
    """Learn from a reference of at least three points, the ``points`` since (oldest first), and ``earlier`` histories.

    ``drop`` is the smallest that matters, in units of the loss; ``wander`` is as in ``noise.weights``.
    """
    history, length = [*reference, *points], len(reference)
    row_variance = float(np.mean([point.variance * point.rows for point in history]))
    sampling = math.sqrt(row_variance * float(np.mean([1 / point.rows for point in history])))
    unit = max(sampling, drop * LEAST_NOISE)
    old = history[: settled(len(history), length)]
    histories = [old, *earlier]
    blocks, weekdays = (
        np.concatenate([_blocks(values(one), length) for one in histories]) for values in (losses, _weekdays)
    )
    daily = all(point.days == 1 for one in histories for point in one)
    week, power = noise.spectrum(blocks / unit, weekdays, daily)
    weights = noise.weights(power, len(blocks), length, drop / unit, wander)
    found = losses(history) - unit * week[_weekdays(history)]
    mean = float(np.average(found[:length], weights=[point.rows for point in reference]))
    return History(mean, length, found[length:], unit, weights)


def settled(points: int, length: int) -> int:
    """Return how many of so many points, the oldest, tell what the noise is, after a reference of ``length`` points."""
    return max(length, points - max(length, _NEW_POINTS))


def losses(points: Sequence[Point]) -> np.ndarray:
    """Return the (n,) losses of points."""
    return np.array([point.loss for point in points])


def _weekdays(points: Sequence[Point]) -> np.ndarray:
    return np.array([point.day % 7 for point in points], dtype=int)


def _blocks(values: np.ndarray, length: int) -> np.ndarray:
    """Return (blocks, length) values, without those of a block that is not complete."""
    whole = len(values) // length
    return values[: whole * length].reshape(whole, length)
