"""The gate at work: champion, challenger and baseline scored on the same rows, judged, and written down."""

import filecmp
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline import baseline, checks, data, evaluation, evidence, gate, ledger, training
from pipeline.adapters.registry import CHALLENGER, CHAMPION, Version
from pipeline.comparison import Difference
from pipeline.config import GateRules
from pipeline.data import Window
from pipeline.evaluation import Scored, Subject
from pipeline.evidence import BASELINE, Evidence
from pipeline.ledger import Look
from pipeline.scores import Score
from pipeline.slices import Slice
from pipeline.tally import Group, Tally
from pipeline.training import Record
from pipeline.verdict import Gate, Verdict
from pipeline.workspace import Workspace


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
    """Both versions ready to predict, what they were trained on, and whether they are one and the same."""

    subjects: dict[str, Subject]
    seen: np.ndarray
    record: Record
    itself: bool


def first_loss_key(score: str) -> str:
    """Return the note of a model that holds the loss of its first deployed version, frozen."""
    return f"first_loss.{score}"


def judge(work: Workspace, run: str, challenger: Version) -> Judgement:
    """Judge a challenger; write gate.json in the run and the challenger's reference into its history."""
    champion = work.registry.aliased(work.config.name, CHAMPION)
    window, score = _window(challenger), work.score
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
    record = training.record(directory)
    simple = baseline.subject(work.config.gate.baseline, work.own, record.baseline, subject.features)
    subjects = {CHALLENGER: subject, BASELINE: simple}
    seen, itself = [np.load(directory / "keys.npy", allow_pickle=False)], False
    if champion is not None:
        rival = work.unpacked(champion.tag("digest")) / "model"
        subjects[CHAMPION] = stack.enter_context(work.deployed(champion.tag("digest")))
        seen.append(np.load(rival / "keys.npy", allow_pickle=False))
        itself = filecmp.cmp(directory / "model.skops", rival / "model.skops", shallow=False)
    return _Case(subjects, np.unique(np.concatenate(seen)), record, itself)


def _judgement(
    work: Workspace,
    score: Score,
    scored: Scored,
    days: list[int],
    case: _Case,
    champion: Version | None,
    challenger: Version,
) -> Judgement:
    rules, tallies, look = work.config.gate, scored.tallies, _look(work, champion, challenger)
    first_loss = work.registry.note(work.config.name, first_loss_key(work.config.evaluation.score))
    first = None if first_loss is None else float(first_loss)
    found = evidence.gather(scored, days, rules, look, first, case.itself)
    return Judgement(
        gate.judge(found, rules, work.config.evaluation.minimum_rows, work.config.degradation.smallest_drop),
        found,
        challenger.number,
        champion.number if champion else None,
        {name: _value(score, tally.matrix(days)) for name, tally in tallies.items()},
        [
            _slice(score, tallies, days, group, found.slices[name], rules)
            for group in tallies[CHALLENGER].groups()
            if (name := " = ".join(group)) in found.slices
        ],
        case.record,
    )


def _look(work: Workspace, champion: Version | None, challenger: Version) -> Look:
    """Return which look this is: the versions that were compared with the same rival are the ledger.

    A promotion changes the rival, which starts anew. What was insufficient was not compared.
    """
    rival = champion.number if champion else BASELINE
    compared = [
        one
        for one in work.registry.versions(challenger.model)
        if one.number != challenger.number
        and one.tags.get("against") == rival
        and one.tags.get("gate", Gate.INSUFFICIENT) != Gate.INSUFFICIENT
    ]
    return ledger.look(_window(challenger), map(_window, compared), 1 - work.config.gate.confidence)


def _window(version: Version) -> Window:
    return Window(int(version.tag("training_end")), int(version.tag("gate_end")))


def _slice(
    score: Score, tallies: dict[str, Tally], days: list[int], group: Group, gain: Difference, rules: GateRules
) -> Slice:
    old, new = (_value(score, tallies[name].matrix(days, group)) for name in (CHAMPION, CHALLENGER))
    return Slice(*group, old, new, gain.rows, gate.is_worse(gain, rules))


def _value(score: Score, sums: np.ndarray) -> float | None:
    return _defined(score.value(sums.sum(axis=0))) if sums.size and sums[:, 0].sum() else None


def _defined(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
