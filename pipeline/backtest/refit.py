"""A refit of the policy that always retrains: fitted, scored on what it answered, forgotten."""

import functools
from dataclasses import dataclass

from pipeline import control, data, evaluation, workspace
from pipeline.adapters.registry import CHAMPION
from pipeline.backtest.fit import loss
from pipeline.backtest.outcome import Cost
from pipeline.data import Window


@dataclass(frozen=True)
class Refitted:
    """What a refit cost, and its loss on each pool of days that it answered."""

    cost: Cost
    losses: list[float | None]


# Every process loads a model's own code and score once.
_load = functools.cache(workspace.load)


def refit(name: str, end: int, pools: list[list[int]]) -> Refitted:
    """Fit on the newest rows before day ``end``, and score it. Runs in a process of its own.

    A policy without a gate holds nothing out, so it has nothing to choose among seeds by either: it fits one.
    """
    work = _load(name)
    fitted = control.fit(work, end, None)
    cost, fresh = Cost(1, round(fitted.seconds, 3)), fitted.control
    if not pools:
        return Refitted(cost, [])
    answered = data.read(work.source, work.config, Window(pools[0][0], pools[-1][-1] + 1))
    scored = evaluation.score_rows(answered, {CHAMPION: fresh.subject}, work.score, work.config, fresh.seen)
    return Refitted(cost, [loss(scored.tallies[CHAMPION], days) for days in pools])
