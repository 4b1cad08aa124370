"""A refit of the policy that always retrains: fitted, scored on what it answered, forgotten."""

import functools
import time
from dataclasses import dataclass

import numpy as np

from pipeline import data, evaluation, training, workspace
from pipeline.adapters.registry import CHAMPION
from pipeline.artifact import Model
from pipeline.backtest.fit import loss, subject
from pipeline.backtest.outcome import Cost
from pipeline.data import KEY, Window
from pipeline.manifest import Golden, Manifest


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
    config, window = work.config, Window(end - data.whole_days(work.config.training.window), end)
    rows = training.rows(data.read(work.source, config, window), config, window, None)
    features = data.kinds(rows, config)
    started = time.monotonic()
    estimator = training.fit(config, work.own, rows, features, 0)
    cost = Cost(1, round(time.monotonic() - started, 3))
    if not pools:
        return Refitted(cost, [])
    manifest = Manifest(config.name, config.task, features, config.components, {}, Golden([], []), [], None)
    subjects, seen = {CHAMPION: subject(Model(manifest, estimator))}, np.unique(rows[KEY].to_numpy(np.uint64))
    answered = data.read(work.source, config, Window(pools[0][0], pools[-1][-1] + 1))
    tally = evaluation.score_rows(answered, subjects, work.score, config, seen).tallies[CHAMPION]
    return Refitted(cost, [loss(tally, days) for days in pools])
