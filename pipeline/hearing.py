"""A hearing at the gate: rows that were scored, the evidence in them, and the verdict."""

from dataclasses import dataclass

from pipeline import checks, evaluation, evidence, gate
from pipeline.checks import Profile
from pipeline.config import ModelConfig
from pipeline.data import Window
from pipeline.evaluation import Scored
from pipeline.evidence import CHALLENGER, Evidence, Frozen
from pipeline.ledger import Look
from pipeline.tally import Point
from pipeline.verdict import Verdict


@dataclass(frozen=True)
class Hearing:
    """What came of it. ``days``: those that count; ``points`` and, by slice, ``slice_points``: the challenger's there,
    its reference if it serves."""

    verdict: Verdict
    evidence: Evidence
    days: list[int]
    points: list[Point]
    slice_points: dict[str, list[Point]]


def hold(
    scored: Scored,
    profile: Profile,
    window: Window,
    config: ModelConfig,
    look: Look,
    frozen: Frozen,
    itself: bool = False,
) -> Hearing:
    """Judge a challenger by the scored rows of the gate's window; ``profile`` is of the rows it was trained on."""
    tally, bad = scored.tallies[CHALLENGER], checks.bad_days(scored.profiles, profile, config)
    days = [day for day in tally.days() if day not in bad]
    found = evidence.gather(scored, days, config.gate, look, frozen, itself)
    verdict = gate.judge(found, config.gate, config.evaluation.minimum_rows, config.degradation.smallest_drop)
    reference = evaluation.evaluate(tally, scored.profiles, profile, config, window.first, window)
    if found.loss is None:
        return Hearing(verdict, found, days, [], {})
    return Hearing(verdict, found, days, reference.points, reference.slice_points)
