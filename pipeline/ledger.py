"""The ledger of looks: whoever tries again and again on the same rows must be surer each time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.data import Window


@dataclass(frozen=True)
class Look:
    """The ``number``-th look at rows of a gate's window, and the chance ``alpha`` that it may err by."""

    number: int
    alpha: float


def look(window: Window, earlier: Iterable[Window], alpha: float) -> Look:
    """Return the look at a window after those at ``earlier`` ones, of which the ones that overlap it count.

    Alpha is spent as 6 / (pi j)^2 of it at the j-th look, which adds up to alpha over any number of them: online
    Bonferroni (Tian & Ramdas 2021, Statistical Methods in Medical Research 30:976). Looks that share a row overlap
    each other, so together they err with a chance of alpha at most.
    """
    number = 1 + sum(one.first < window.end and window.first < one.end for one in earlier)
    return Look(number, 6 * alpha / (math.pi * number) ** 2)
