"""A slice: the rows that share one value of a column, and how both models do on them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Slice:
    """The rows whose ``column`` holds ``value``, with both models' scores (None or nan: no score)."""

    column: str
    value: str
    champion: float | None
    challenger: float | None
    rows: int
    outside: bool = False
    """Whether the challenger is worse here than the slice margin allows."""

    def gain(self, better: Better) -> float | None:
        """Return how much better the challenger is, in units of the score; None without both scores."""
        if self.champion is None or self.challenger is None:
            return None
        gain = self.challenger - self.champion if better == "higher" else self.champion - self.challenger
        return None if math.isnan(gain) else gain


def worst_first(slices: Iterable[Slice], better: Better) -> list[Slice]:
    """Sort slices: outside the margin first, then by gain or, with no challenger, by the champion's score."""
    slices = list(slices)
    gains = any(one.challenger is not None for one in slices)

    def goodness(one: Slice) -> tuple[bool, float]:
        if gains:
            value = one.gain(better)
        else:
            value = one.champion if one.champion is None or better == "higher" else -one.champion
        return not one.outside, math.inf if value is None or math.isnan(value) else value

    return sorted(slices, key=goodness)
