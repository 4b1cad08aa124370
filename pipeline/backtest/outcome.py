"""What a backtest found: backtest.json. Like input, like outcome, but for the seconds."""

from collections import Counter
from datetime import date, datetime
from typing import Literal

import msgspec

from pipeline.slices import Better
from pipeline.verdict import Decision, Gate

ZETA, NEVER, ALWAYS = POLICIES = ("zeta", "never", "always")
"""Zeta itself; the first version for ever; a refit of the newest rows on every morning with a new point, unasked."""


class Morning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One morning: who was champion, what was decided, and what came of a retraining.

    ``score``: the champion's over the evaluation window; ``points``: new ones of its history; ``alarm``: whether it
    had degraded, retrained or not; ``failed``: why a training could not be.
    """

    at: datetime
    champion: str | None
    verdict: Decision
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    alarm: bool
    score: float | None = None
    points: int = 0
    challenger: str | None = None
    gate: Gate | None = None
    gate_reasons: tuple[str, ...] = ()
    failed: str | None = None

    @property
    def promoted(self) -> bool:
        """Whether its challenger would serve from now on."""
        return self.gate is not None and self.gate.passed


class Pool(msgspec.Struct, frozen=True):
    """Days pooled until they hold enough rows, and the score of what each policy served when they began."""

    first: date
    last: date
    rows: int
    scores: dict[str, float | None]


class Cost(msgspec.Struct, frozen=True):
    """What a policy has trained: one fit a seed, and their seconds."""

    fits: int
    seconds: float


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``made_with``: versions of the code."""

    model: str
    score: str
    better: Better
    first: date
    last: date
    mornings: list[Morning]
    pools: list[Pool]
    costs: dict[str, Cost]
    made_with: dict[str, str]

    def means(self) -> dict[str, float | None]:
        """Return each policy's mean score, weighted by rows, over the pools on which all have one."""
        pools = [pool for pool in self.pools if None not in pool.scores.values()]
        rows = sum(pool.rows for pool in pools)
        return {
            policy: sum(pool.rows * (pool.scores[policy] or 0.0) for pool in pools) / rows if rows else None
            for policy in POLICIES
        }

    def counts(self) -> dict[str, int]:
        """Return how many mornings came to what; the first version is none that was retrained."""
        found: Counter[str] = Counter()
        for one in self.mornings:
            again = one.champion is not None
            found["alarms"] += one.alarm
            found["retrains"] += again and one.challenger is not None
            found["promotions"] += again and one.promoted
            found["rejected"] += one.gate is not None and not one.promoted
            found["data_bad"] += one.verdict == Decision.DATA_BAD
            found["insufficient"] += one.verdict == Decision.INSUFFICIENT
            found["failed"] += one.failed is not None
        return {"mornings": len(self.mornings), **found}


Mark = Literal["alarm", "promoted", "rejected", "data_bad"]


def mark(morning: Morning) -> Mark | None:
    """Return what a morning is marked by in a drawing."""
    if morning.gate is not None:
        return "promoted" if morning.promoted else "rejected"
    if morning.verdict == Decision.DATA_BAD:
        return "data_bad"
    return "alarm" if morning.alarm else None
