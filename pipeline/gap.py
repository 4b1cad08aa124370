"""The gap: how much worse the champion is than the control, on rows that neither was trained on."""

import math

import numpy as np

from pipeline.scores import RowStatistics, Score
from pipeline.tally import Point, Tally


class Gap:
    """Both tallied on the same rows, and resampled together: what is hard about a day is hard for both."""

    def __init__(self, score: Score) -> None:
        self._champion, self._control = Tally(score, resample=True), Tally(score, resample=True)

    def add(self, days: np.ndarray, champion: RowStatistics, control: RowStatistics) -> None:
        """Add n rows: their days (n,) int, and the (n, m) statistics of both."""
        self._champion.add(days, {}, champion)
        self._control.add(days, {}, control)

    def point(self, days: list[int], span: int) -> Point | None:
        """Pool days as ``Tally.point`` does: the champion's loss minus the control's. None where it is not defined."""
        held = [day for day in days if day in self._champion.days()]
        if not held:
            return None
        champion, control = (tally.matrix(held).sum(axis=0) for tally in (self._champion, self._control))
        loss = self._champion.score.loss
        resampled = self._champion.resampled(held) - self._control.resampled(held)
        variance = float(np.var(resampled[np.isfinite(resampled)], ddof=1))
        found = Point(days[-1], span, int(champion[0]), float(loss(champion) - loss(control)), variance)
        return found if math.isfinite(found.loss + found.variance) else None
