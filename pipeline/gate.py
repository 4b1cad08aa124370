"""May the challenger replace the champion? A pure function of both on the same rows, which neither has seen."""

import math

from pipeline import cause
from pipeline.comparison import Difference, Pairs
from pipeline.config import GateRules
from pipeline.evaluation import FEWEST_SLICE_ROWS
from pipeline.evidence import BASELINE, CHAMPION, Evidence
from pipeline.verdict import Gate, Verdict


def judge(evidence: Evidence, rules: GateRules, minimum_rows: int, smallest_drop: float) -> Verdict:
    """Judge a challenger. Missing evidence never passes: it is ``insufficient``.

    A challenger that is no better than its rival is promoted out of all looks at the same rows with a chance of at
    most 1 - confidence; one that is nowhere worse than the champion is refused for its slices in one look with no more.
    """
    gains = {rival: gain for rival, gain in evidence.gains.items() if gain is not None}
    numbers = _numbers(evidence, gains)
    if evidence.itself:
        return Verdict(Gate.REJECT, ("it is the champion itself: both have the same model file",), numbers)
    if evidence.rows < minimum_rows:
        reason = f"{evidence.rows} unseen rows in the gate's window; at least {minimum_rows} are needed"
        return Verdict(Gate.INSUFFICIENT, (reason,), numbers)
    loss = math.nan if evidence.loss is None else evidence.loss
    if math.isnan(loss) or len(gains) < len(evidence.gains) or BASELINE not in gains:
        reason = "the score cannot be compared on the gate's rows: it is not defined there, or they are of one day"
        return Verdict(Gate.INSUFFICIENT, (reason,), numbers)
    why = _cause(evidence, gains, smallest_drop)
    if against := _against(evidence, gains, rules):
        return Verdict(Gate.REJECT, (*why, *against), numbers)
    found = why + tuple(
        f"better than the {rival} by {gain.estimate:.3f} (at least {gain.low:.3f}) on {gain.rows} rows"
        for rival, gain in gains.items()
    )
    first = evidence.first_loss
    if first is not None and not loss <= first + smallest_drop / 2:
        lost = f"improved, not recovered: loss {loss:.3f}, at the first deployment {first:.3f}"
        return Verdict(Gate.PROMOTE_NOT_RECOVERED, (*found, lost), numbers)
    return Verdict(Gate.PROMOTE, found, numbers)


def is_worse(gain: Difference, rules: GateRules) -> bool:
    """Tell whether a slice is worse than its margin allows, on enough rows and beyond chance."""
    return gain.rows >= FEWEST_SLICE_ROWS and gain.estimate < -rules.slice_margin and gain.high < 0


def _against(evidence: Evidence, gains: dict[str, Difference], rules: GateRules) -> tuple[str, ...]:
    look, reasons = evidence.look, []
    sure = f"{100 * (1 - look.alpha):.4g}%"
    for rival, gain in gains.items():
        needed, pairs = rules.baseline_margin if rival == BASELINE else 0.0, evidence.pairs.get(rival)
        if not gain.low > needed or (pairs is not None and not pairs.p <= look.alpha):
            reasons.append(
                f"not shown to be better than the {rival}: difference {gain.estimate:+.3f}, {sure} "
                f"sure of only {gain.low:+.3f}, needed above {needed:.3f} ({gain.rows} rows, {gain.days} days)"
                + (f"; {_told(pairs)}, needed at most {look.alpha:.3g}" if pairs else "")
            )
    if reasons and look.number > 1:
        reasons.append(f"look {look.number} at rows of this window, which is why it must be {sure} sure")
    for name, gain in evidence.slices.items():
        if is_worse(gain, rules):
            reasons.append(
                f"slice {name}: worse by {-gain.estimate:.3f} on {gain.rows} rows, "
                f"at most {rules.slice_margin:.3f} is allowed"
            )
    return tuple(reasons)


def _cause(evidence: Evidence, gains: dict[str, Difference], smallest_drop: float) -> tuple[str, ...]:
    if evidence.rise is None or CHAMPION not in gains:
        return ()
    return (cause.told(evidence.rise, gains[CHAMPION], smallest_drop),)


def _told(pairs: Pairs) -> str:
    return f"right alone on {pairs.gained} rows, wrong alone on {pairs.lost}: mid-p {pairs.p:.3g}"


def _numbers(evidence: Evidence, gains: dict[str, Difference]) -> dict[str, float]:
    look = evidence.look
    numbers = {"rows": float(evidence.rows), "look": float(look.number), "alpha": look.alpha}
    numbers |= {} if evidence.loss is None else {"loss": evidence.loss}
    for rival, gain in gains.items():
        numbers |= {f"gain_on_{rival}": gain.estimate, f"gain_on_{rival}_low": gain.low}
    return numbers | {f"mid_p_on_{rival}": pairs.p for rival, pairs in evidence.pairs.items()}
