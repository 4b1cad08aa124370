"""The gate in a backtest: challenger, champion and baseline on rows that none has seen; no image, so no golden rows."""

from dataclasses import dataclass

import numpy as np

from pipeline import baseline, checks, data, evaluation, evidence, gate, ledger
from pipeline.backtest.fit import Fitted
from pipeline.data import Window
from pipeline.evidence import BASELINE, CHALLENGER, CHAMPION
from pipeline.scores import Score
from pipeline.tally import Point
from pipeline.verdict import Verdict
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Judged:
    """The verdict, the challenger's loss on the gate's rows, and its points there: the reference to come."""

    verdict: Verdict
    loss: float | None
    points: list[Point]


def judge(
    work: Workspace, score: Score, challenger: Fitted, champion: Fitted | None, looks: list[Window], first: float | None
) -> Judged:
    """Judge a challenger, fresh from training: whether it is what it claims to be is not asked.

    ``looks``: the windows of earlier comparisons with its rival; ``first``: the loss of the first version deployed.
    """
    config, window, profile = work.config, challenger.windows.gate, challenger.record.profile
    features = challenger.subject.features
    simple = baseline.subject(config.gate.baseline, work.own, challenger.record.baseline, features)
    subjects = {CHALLENGER: challenger.subject, BASELINE: simple}
    seen = challenger.seen
    if champion is not None:
        subjects[CHAMPION] = champion.subject
        seen = np.unique(np.concatenate([seen, champion.seen]))
    rows = data.read(work.source, config, window)
    scored = evaluation.score_rows(rows, subjects, score, config, seen, CHALLENGER)
    tally, bad = scored.tallies[CHALLENGER], checks.bad_days(scored.profiles, profile, config)
    days = [day for day in tally.days() if day not in bad]
    look = ledger.look(window, looks, 1 - config.gate.confidence)
    told = evidence.gather(scored, days, config.gate, look, first)
    verdict = gate.judge(told, config.gate, config.evaluation.minimum_rows, config.degradation.smallest_drop)
    found = evaluation.evaluate(tally, scored.profiles, profile, config, window.first, window)
    return Judged(verdict, told.loss, found.points if told.loss is not None else [])
