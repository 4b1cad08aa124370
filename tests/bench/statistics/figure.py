"""A figure: what a simulation found, and what it had to reach."""

from dataclasses import dataclass
from typing import Self

from scipy import stats


@dataclass(frozen=True)
class Figure:
    """``value`` was found in ``scenario``, with its 95 % bounds, from ``number`` simulated cases."""

    name: str
    scenario: str
    value: float
    low: float
    high: float
    number: int
    target: str
    met: bool

    @classmethod
    def share(
        cls, name: str, scenario: str, count: int, number: int, most: float | None = None, least: float | None = None
    ) -> Self:
        """Return a share with its exact bounds (Clopper & Pearson 1934), which must keep ``most`` or ``least``."""
        found = stats.binomtest(count, number).proportion_ci(0.95, "exact")
        target = f"at most {most:.2%}" if least is None else f"at least {least:.2%}"
        met = found.high <= most if least is None else found.low >= least
        return cls(name, scenario, count / number, float(found.low), float(found.high), number, target, bool(met))
