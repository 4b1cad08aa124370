"""A verdict: what was decided, why in words, and the numbers it rests on."""

from dataclasses import dataclass, field
from enum import StrEnum


class Decision(StrEnum):
    """What the fresh score says about the champion."""

    KEEP = "keep"
    RETRAIN = "retrain"
    DATA_BAD = "data_bad"
    INSUFFICIENT = "insufficient"


class Gate(StrEnum):
    """What the gate says about the challenger."""

    PROMOTE = "promote"
    PROMOTE_NOT_RECOVERED = "promote_not_recovered"
    REJECT = "reject"
    INSUFFICIENT = "insufficient"

    @property
    def passed(self) -> bool:
        """Whether the challenger may be rolled out."""
        return self in (Gate.PROMOTE, Gate.PROMOTE_NOT_RECOVERED)


class Rollout(StrEnum):
    """How a roll-out ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    HELD = "held"


@dataclass(frozen=True)
class Verdict:
    """An outcome (a Decision, Gate or Rollout), the reasons in words, the numbers behind them."""

    outcome: str
    reasons: tuple[str, ...]
    numbers: dict[str, float] = field(default_factory=dict)
