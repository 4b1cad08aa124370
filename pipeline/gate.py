"""May the challenger replace the champion? A pure function of both on the same rows, which neither has seen."""

import math
from dataclasses import dataclass, field

from pipeline.comparison import Difference
from pipeline.config import GateRules
from pipeline.verdict import Gate, Verdict

# A slice with fewer rows says nothing about a model; it is shown, not judged.
FEWEST_SLICE_ROWS = 30


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at.

    ``loss``: the challenger's, None when the score is not defined on the rows; ``gains``: the loss of each rival
    ("champion", which is missing at bootstrap, and "baseline") minus the challenger's, None when it cannot be told;
    ``slices``: the same against the champion a slice; ``first_loss``: the first deployed version's, frozen;
    ``golden``: what differs when the challenger is loaded anew.
    """

    rows: int
    loss: float | None
    gains: dict[str, Difference | None]
    slices: dict[str, Difference] = field(default_factory=dict)
    first_loss: float | None = None
    golden: tuple[str, ...] = ()


def judge(evidence: Evidence, rules: GateRules, minimum_rows: int, smallest_drop: float) -> Verdict:
    """Judge a challenger. Missing evidence never passes: it is ``insufficient``."""
    gains = {rival: gain for rival, gain in evidence.gains.items() if gain is not None}
    numbers = _numbers(evidence, gains)
    if evidence.rows < minimum_rows:
        reason = f"{evidence.rows} unseen rows in the gate's window; at least {minimum_rows} are needed"
        return Verdict(Gate.INSUFFICIENT, (reason,), numbers)
    loss = math.nan if evidence.loss is None else evidence.loss
    if math.isnan(loss) or len(gains) < len(evidence.gains) or "baseline" not in gains:
        reason = "the score cannot be compared on the gate's rows: it is not defined there, or they are of one day"
        return Verdict(Gate.INSUFFICIENT, (reason,), numbers)
    if against := _against(evidence, gains, rules):
        return Verdict(Gate.REJECT, against, numbers)
    found = tuple(
        f"better than the {rival} by {gain.estimate:.3f} (at least {gain.low:.3f}) on {gain.rows} rows"
        for rival, gain in gains.items()
    )
    first = evidence.first_loss
    if first is not None and not loss <= first + smallest_drop / 2:
        lost = f"improved, not recovered: loss {loss:.3f}, at the first deployment {first:.3f}"
        return Verdict(Gate.PROMOTE_NOT_RECOVERED, (*found, lost), numbers)
    return Verdict(Gate.PROMOTE, found, numbers)


def _against(evidence: Evidence, gains: dict[str, Difference], rules: GateRules) -> tuple[str, ...]:
    reasons = [f"the challenger does not answer as it did when trained: {text}" for text in evidence.golden]
    for rival, gain in gains.items():
        needed = rules.baseline_margin if rival == "baseline" else 0.0
        if not gain.low > needed:
            reasons.append(
                f"not shown to be better than the {rival}: difference {gain.estimate:+.3f}, {rules.confidence:.0%} "
                f"sure of only {gain.low:+.3f}, needed above {needed:.3f} ({gain.rows} rows, {gain.days} days)"
            )
    for name, gain in evidence.slices.items():
        if is_worse(gain, rules):
            reasons.append(
                f"slice {name}: worse by {-gain.estimate:.3f} on {gain.rows} rows, "
                f"at most {rules.slice_margin:.3f} is allowed"
            )
    return tuple(reasons)


def is_worse(gain: Difference, rules: GateRules) -> bool:
    """Tell whether a slice is worse than its margin allows, on enough rows and beyond chance."""
    return gain.rows >= FEWEST_SLICE_ROWS and gain.estimate < -rules.slice_margin and gain.high < 0


def _numbers(evidence: Evidence, gains: dict[str, Difference]) -> dict[str, float]:
    numbers = {"rows": float(evidence.rows)} | ({} if evidence.loss is None else {"loss": evidence.loss})
    for rival, gain in gains.items():
        numbers |= {f"gain_on_{rival}": gain.estimate, f"gain_on_{rival}_low": gain.low}
    return numbers
