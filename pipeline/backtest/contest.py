"""The gate in a backtest: challenger, champion and baseline on rows that none has seen; no image, so no golden rows."""

import numpy as np

from pipeline import baseline, data, evaluation, hearing, ledger
from pipeline.backtest.fit import Fitted
from pipeline.data import Window
from pipeline.evidence import BASELINE, CHALLENGER, CHAMPION, Frozen
from pipeline.hearing import Hearing
from pipeline.scores import Score
from pipeline.workspace import Workspace


def judge(
    work: Workspace, score: Score, challenger: Fitted, champion: Fitted | None, looks: list[Window], frozen: Frozen
) -> Hearing:
    """Judge a challenger, fresh from training: whether it is what it claims to be is not asked.

    ``looks``: the windows of earlier comparisons with its rival.
    """
    config, window = work.config, challenger.windows.gate
    features = challenger.subject.features
    simple = baseline.subject(config.gate.baseline, work.own, challenger.record.baseline, features)
    subjects = {CHALLENGER: challenger.subject, BASELINE: simple}
    seen = challenger.seen
    if champion is not None:
        subjects[CHAMPION] = champion.subject
        seen = np.unique(np.concatenate([seen, champion.seen]))
    rows = data.read(work.source, config, window)
    scored = evaluation.score_rows(rows, subjects, score, config, seen, CHALLENGER)
    look = ledger.look(window, looks, 1 - config.gate.confidence)
    return hearing.hold(scored, challenger.record.profile, window, config, look, frozen)
