"""May the challenger replace the champion? A pure function of both on the same rows, which neither has seen."""

from dataclasses import dataclass, field

from pipeline.comparison import Difference
from pipeline.config import GateRules
from pipeline.verdict import Gate, Verdict

# A slice with fewer rows says nothing about a model; it is shown, not judged.
FEWEST_SLICE_ROWS = 30


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at.

    ``champion`` and ``baseline``: their loss minus the challenger's (champion is None at bootstrap);
    ``slices``: champion minus challenger a slice; ``loss``: the challenger's;
    ``first_loss``: the first deployed version's, frozen; ``golden``: what differs when the challenger is loaded anew.
    """

    rows: int
    loss: float
    baseline: Difference
    champion: Difference | None = None
    first_loss: float | None = None
    slices: dict[str, Difference] = field(default_factory=dict)
    golden: tuple[str, ...] = ()


def judge(evidence: Evidence, rules: GateRules, minimum_rows: int, smallest_drop: float) -> Verdict:
    """Judge a challenger. Missing evidence never passes: it is ``insufficient``."""
    numbers = _numbers(evidence)
    if missing := _missing(evidence, minimum_rows):
        return Verdict(Gate.INSUFFICIENT, missing, numbers)
    if against := _against(evidence, rules):
        return Verdict(Gate.REJECT, against, numbers)
    gained = [_beats("the simple baseline", evidence.baseline)]
    if evidence.champion is not None:
        gained.insert(0, _beats("the champion", evidence.champion))
    limit = None if evidence.first_loss is None else evidence.first_loss + smallest_drop / 2
    if limit is not None and evidence.loss > limit:
        lost = f"improved, not recovered: loss {evidence.loss:.3f}, at the first deployment {evidence.first_loss:.3f}"
        return Verdict(Gate.PROMOTE_NOT_RECOVERED, (*gained, lost), numbers)
    return Verdict(Gate.PROMOTE, tuple(gained), numbers)


def _missing(evidence: Evidence, minimum_rows: int) -> tuple[str, ...]:
    if evidence.rows < minimum_rows:
        return (f"{evidence.rows} unseen rows in the gate's window; at least {minimum_rows} are needed",)
    compared = [evidence.baseline, *([evidence.champion] if evidence.champion else [])]
    if any(one.estimate != one.estimate or one.days < 2 for one in compared):
        return ("the score cannot be computed on the gate's rows, or they are all of one day",)
    return ()


def _against(evidence: Evidence, rules: GateRules) -> tuple[str, ...]:
    reasons = [f"the challenger does not answer as it did when trained: {text}" for text in evidence.golden]
    if evidence.champion is not None and not evidence.champion.low > 0:
        reasons.append(_not_better("the champion", evidence.champion, 0.0, rules.confidence))
    if not evidence.baseline.low > rules.baseline_margin:
        margin = rules.baseline_margin
        reasons.append(_not_better("the simple baseline", evidence.baseline, margin, rules.confidence))
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


def _beats(whom: str, gain: Difference) -> str:
    return f"better than {whom} by {gain.estimate:.3f} (at least {gain.low:.3f}) on {gain.rows} rows"


def _not_better(whom: str, gain: Difference, margin: float, confidence: float) -> str:
    return (
        f"not shown to be better than {whom}: difference {gain.estimate:+.3f}, {confidence:.0%} sure of only "
        f"{gain.low:+.3f}, needed above {margin:.3f} ({gain.rows} rows, {gain.days} days)"
    )


def _numbers(evidence: Evidence) -> dict[str, float]:
    compared = {"champion": evidence.champion, "baseline": evidence.baseline}
    numbers = {"rows": float(evidence.rows), "loss": evidence.loss}
    for name, one in compared.items():
        if one is not None:
            numbers |= {f"gain_on_{name}": one.estimate, f"gain_on_{name}_low": one.low}
    return numbers
