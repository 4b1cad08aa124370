"""The gate at work: champion, challenger and baseline scored on the same rows, judged, and written down."""

from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline import baseline, checks, data, evaluation, gate, training
from pipeline.adapters.registry import CHALLENGER, CHAMPION, Version
from pipeline.comparison import Difference, difference
from pipeline.config import GateRules
from pipeline.data import Window
from pipeline.evaluation import Scored, Subject
from pipeline.gate import Evidence
from pipeline.manifest import Manifest
from pipeline.scores import Score
from pipeline.slices import Slice
from pipeline.tally import Group, Tally
from pipeline.training import Record
from pipeline.verdict import Verdict
from pipeline.workspace import Workspace

BASELINE = "baseline"


class Judgement(msgspec.Struct, frozen=True):
    """What the gate found, kept as gate.json in the run. ``scores`` of each subject are on the gate's rows."""

    verdict: Verdict
    evidence: Evidence
    challenger: str
    champion: str | None
    scores: dict[str, float | None]
    slices: list[Slice]
    record: Record


@dataclass(frozen=True)
class _Case:
    """Both versions ready to predict, and what they were trained on."""

    subjects: dict[str, Subject]
    seen: np.ndarray
    record: Record
    golden: tuple[str, ...]


def first_loss_key(score: str) -> str:
    """Return the note of a model that holds the loss of its first deployed version, frozen."""
    return f"first_loss.{score}"


def judge(work: Workspace, run: str, challenger: Version) -> Judgement:
    """Judge a challenger; write gate.json in the run and the challenger's reference into its history."""
    champion = work.registry.aliased(work.config.name, CHAMPION)
    window = Window(int(challenger.tag("training_end")), int(challenger.tag("gate_end")))
    score = work.score
    with ExitStack() as stack:
        case = _case(work, stack, champion, challenger)
        rows = data.read(work.source, work.config, window)
        scored = evaluation.score_rows(rows, case.subjects, score, work.config, case.seen, CHALLENGER)
    bad = checks.bad_days(scored.profiles, case.record.profile, work.config)
    days = [day for day in scored.tallies[CHALLENGER].days() if day not in bad]
    found = _judgement(work, score, scored, days, case, champion, challenger)
    if found.evidence.loss is not None:
        tally, profile = scored.tallies[CHALLENGER], case.record.profile
        points = evaluation.evaluate(tally, scored.profiles, profile, work.config, window.first, window).points
        marks = [evaluation.shown(score, point, found.evidence.loss) for point in points]
        work.registry.add_points(challenger, points, marks)
    work.registry.write(run, "gate.json", msgspec.json.encode(found).decode())
    numbers = {f"gate_{key}": value for key, value in found.verdict.numbers.items()}
    work.registry.record(run, {"gate_reasons": "; ".join(found.verdict.reasons)}, numbers)
    return found


def _case(work: Workspace, stack: ExitStack, champion: Version | None, challenger: Version) -> _Case:
    subject, directory = stack.enter_context(work.candidate(challenger))
    described, record = Manifest.read(directory), training.record(directory)
    subjects = {CHALLENGER: subject, BASELINE: _baseline(work, record, subject)}
    seen = [np.load(directory / "keys.npy", allow_pickle=False)]
    if champion is not None:
        subjects[CHAMPION] = stack.enter_context(work.deployed(champion.tag("digest")))
        seen.append(np.load(work.unpacked(champion.tag("digest")) / "model/keys.npy", allow_pickle=False))
    golden = data.frame(described.golden.rows, described.features)
    answers = subject.predict(golden, "labels", 1).tolist()
    return _Case(subjects, np.unique(np.concatenate(seen)), record, tuple(described.golden.differences(answers)))


def _baseline(work: Workspace, record: Record, challenger: Subject) -> Subject:
    kind = work.config.gate.baseline
    if kind.startswith("model."):
        return Subject(challenger.features, baseline.rule(kind, work.own))
    return Subject(challenger.features, lambda frame, output, k: record.baseline.predict(len(frame), output))


def _judgement(
    work: Workspace,
    score: Score,
    scored: Scored,
    days: list[int],
    case: _Case,
    champion: Version | None,
    challenger: Version,
) -> Judgement:
    rules, tallies = work.config.gate, scored.tallies
    sums = {name: tally.matrix(days) for name, tally in tallies.items()}
    slices = {group: _between(tallies, days, group, rules.confidence) for group in tallies[CHALLENGER].groups()}
    told = {group: gain for group, gain in slices.items() if gain is not None}
    evidence = _evidence(work, score, sums, told, case.golden)
    verdict = gate.judge(evidence, rules, work.config.evaluation.minimum_rows, work.config.degradation.smallest_drop)
    return Judgement(
        verdict,
        evidence,
        challenger.number,
        champion.number if champion else None,
        {name: _value(score, total) for name, total in sums.items()},
        [_slice(score, tallies, days, group, gain, rules) for group, gain in told.items()],
        case.record,
    )


def _evidence(
    work: Workspace,
    score: Score,
    sums: dict[str, np.ndarray],
    slices: dict[Group, Difference],
    golden: tuple[str, ...],
) -> Evidence:
    new, confidence = sums[CHALLENGER], work.config.gate.confidence
    first_loss = work.registry.note(work.config.name, first_loss_key(work.config.evaluation.score))
    return Evidence(
        rows=int(new[:, 0].sum()) if len(new) else 0,
        loss=_defined(score.loss(new.sum(axis=0))) if len(new) else None,
        gains={
            rival: difference(score, sums[rival], new, confidence) for rival in (CHAMPION, BASELINE) if rival in sums
        },
        slices={" = ".join(group): gain for group, gain in slices.items()},
        first_loss=None if first_loss is None else float(first_loss),
        golden=golden,
    )


def _between(tallies: dict[str, Tally], days: list[int], group: Group, confidence: float) -> Difference | None:
    if CHAMPION not in tallies:
        return None
    old, new = (tallies[name].matrix(days, group) for name in (CHAMPION, CHALLENGER))
    return difference(tallies[CHALLENGER].score, old, new, confidence)


def _slice(
    score: Score, tallies: dict[str, Tally], days: list[int], group: Group, gain: Difference, rules: GateRules
) -> Slice:
    old, new = (_value(score, tallies[name].matrix(days, group)) for name in (CHAMPION, CHALLENGER))
    return Slice(*group, old, new, gain.rows, gate.is_worse(gain, rules))


def _value(score: Score, sums: np.ndarray) -> float | None:
    return _defined(score.value(sums.sum(axis=0))) if sums.size and sums[:, 0].sum() else None


def _defined(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
