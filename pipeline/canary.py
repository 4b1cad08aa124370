"""A canary against a fresh baseline of the champion, judged while both serve: may be looked at as often as one likes.

Errors and slow requests: given how many of all requests were errors, the canary's share of them is hypergeometric when
both serve alike. ``odds ** k / (1 - p + odds * p) ** m`` (k of the m errors are the canary's, p its share of the
requests) has an expectation of at most 1 then (Hoeffding 1963, theorem 4), so its product over looks, averaged over
odds, is above 1/alpha ever with a probability of at most alpha (Ville 1939; Lindon & Malek, arXiv 2011.03567).
Predictions: the distance of two empirical distributions is at most ``radius`` farther from the true one (Weissman et
al. 2003), with alpha shared among the looks, rows and columns, canary and baseline.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.observation import SECONDS, SIDE, Observation

ALPHA = 0.01
"""How probable it is to call a canary bad that is as good as the baseline, however often one looks."""
_TESTS = 3
_LOG_LIMIT = np.log(_TESTS / ALPHA)
_ODDS = np.array([1.5, 2.0, 4.0, 8.0, 32.0])
# A larger model may be somewhat slower: the odds of a slow request may be as many times the champion's.
_SLOWER = 4.0


@dataclass
class Watch:
    """What has been seen of a canary and its baseline.

    ``usual``: how far their predictions are apart on the same rows; ``shift``: how much farther they may be on live
    ones; both as total variation, from 0 to 1.
    """

    usual: float
    shift: float
    canary: Observation = field(default_factory=Observation)
    baseline: Observation = field(default_factory=Observation)
    looks: int = 0
    errors: np.ndarray = field(default_factory=lambda: np.zeros(len(_ODDS)))
    slow: np.ndarray = field(default_factory=lambda: np.zeros((len(SECONDS), len(_ODDS))))

    def look(self, new: Observation, old: Observation) -> list[str]:
        """Take in what canary and baseline have counted since the last look; return what is wrong with the canary."""
        self.canary, self.baseline = self.canary + new, self.baseline + old
        self.looks += 1
        share = new.requests / max(1, new.requests + old.requests)
        self.errors += evidence(new.errors, old.errors, share)
        self.slow += [evidence(a, b, share, _SLOWER) for a, b in zip(new.slower, old.slower, strict=True)]
        return [*self._errors(), *self._slow(), *self._shifted()]

    def numbers(self) -> dict[str, float]:
        """Return what a verdict keeps."""
        return {
            "canary_requests": self.canary.requests,
            "canary_errors": self.canary.errors,
            "baseline_requests": self.baseline.requests,
            "baseline_errors": self.baseline.errors,
            "predictions_apart": apart(self.canary.groups, self.baseline.groups),
            "usually_apart": self.usual,
        }

    def _errors(self) -> list[str]:
        if _log_mean(self.errors) < _LOG_LIMIT:
            return []
        new, old = self.canary, self.baseline
        return [f"errors: {new.errors} of {new.requests} requests, {old.errors} of {old.requests} beside it"]

    def _slow(self) -> list[str]:
        if _log_mean(self.slow) < _LOG_LIMIT:
            return []
        most = int(self.slow.max(axis=1).argmax())
        new, old = (seen.slower[most] / max(1, seen.requests) for seen in (self.canary, self.baseline))
        return [f"latency: {new:.0%} of the requests took longer than {SECONDS[most]:g} s, {old:.0%} beside it"]

    def _shifted(self) -> list[str]:
        new, old = self.canary.groups, self.baseline.groups
        if not new.sum() or not old.sum():
            return []
        alpha = ALPHA / _TESTS / (4 * self.looks * (self.looks + 1))
        distance, unsure = apart(new, old), radius(new.sum(), alpha) + radius(old.sum(), alpha)
        if distance - unsure <= self.usual + self.shift:
            return []
        return [
            f"predictions: {distance:.2f} apart from those beside it on live requests (at least "
            f"{distance - unsure:.2f}), {self.usual:.2f} on the same fresh rows; expected {self.shift:.2f} more at most"
        ]


def evidence(events: int, others: int, share: float, allowed: float = 1.0) -> np.ndarray:
    """Return the logarithm of the evidence, one for each of the odds, that ``events`` are too many of all events.

    ``share``: of the requests, the canary's; ``allowed``: odds up to which events are not too many.
    """
    odds = allowed * _ODDS
    return events * np.log(_ODDS) - (events + others) * np.log(
        (1 - share + odds * share) / (1 - share + allowed * share)
    )


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Return the total variation distance of two distributions given as (GROUPS,) counts, by row or by column of their
    square, whichever is more; 0 when one is empty."""
    if not first.sum() or not second.sum():
        return 0.0
    difference = (first / first.sum() - second / second.sum()).reshape(SIDE, SIDE)
    return max(float(np.abs(difference.sum(axis=axis)).sum() / 2) for axis in (0, 1))


def radius(rows: float, alpha: float) -> float:
    """Return how far, as total variation, ``rows`` draws may lie from their distribution, with confidence 1 - alpha:
    by row of the square, or by column."""
    return float(np.sqrt(2 * (SIDE * np.log(2) + np.log(1 / alpha)) / rows) / 2)


def _log_mean(logs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(logs, axis=None) - np.log(logs.size))
