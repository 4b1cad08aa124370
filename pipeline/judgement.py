"""The gate at work: champion, challenger and baseline scored on the same rows, judged, and written down."""

import filecmp
import math
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec
import numpy as np

from pipeline import baseline, data, dossier, evaluation, gate, hearing, ledger, training
from pipeline.adapters.registry import CHALLENGER, CHAMPION, Version
from pipeline.comparison import Difference
from pipeline.config import GateRules
from pipeline.data import Window
from pipeline.evaluation import Scored, Subject
from pipeline.evidence import BASELINE, Evidence, Frozen
from pipeline.hearing import Hearing
from pipeline.ledger import Look
from pipeline.slices import Slice
from pipeline.tally import ALL, Group, Tally
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


def judge(work: Workspace, run: str, challenger: Version) -> Judgement:
    """Judge a challenger; write gate.json in the run and the challenger's reference into its history."""
    champion = work.registry.aliased(work.config.name, CHAMPION)
    window, score = _window(challenger), work.score
    with ExitStack() as stack:
        case = _case(work, stack, champion, challenger)
        rows = data.read(work.source, work.config, window)
        scored = evaluation.score_rows(rows, case.subjects, score, work.config, case.seen, CHALLENGER)
    look, frozen = _look(work, champion, challenger), _frozen(work, champion)
    heard = hearing.hold(scored, case.record.profile, window, work.config, look, frozen, case.itself)
    found = _judgement(work, scored, heard, case, champion, challenger)
    if heard.evidence.loss is not None:
        marks = [evaluation.shown(score, point, heard.evidence.loss) for point in heard.points]
        work.registry.add_slices(challenger, heard.slice_points)
        work.registry.add_points(challenger, heard.points, marks)
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
    work: Workspace, scored: Scored, heard: Hearing, case: _Case, champion: Version | None, challenger: Version
) -> Judgement:
    tallies, slices = scored.tallies, heard.evidence.slices
    return Judgement(
        heard.verdict,
        heard.evidence,
        challenger.number,
        champion.number if champion else None,
        {name: _value(tally, heard.days, ALL) for name, tally in tallies.items()},
        [
            _slice(tallies, heard.days, group, slices[name], work.config.gate)
            for group in tallies[CHALLENGER].groups()
            if (name := " = ".join(group)) in slices
        ],
        case.record,
    )


def _frozen(work: Workspace, champion: Version | None) -> Frozen:
    same = champion is not None and dossier.same_score(work, champion)
    return Frozen(dossier.first_loss(work), float(champion.tag("reference_loss")) if champion and same else None)


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


def _slice(tallies: dict[str, Tally], days: list[int], group: Group, gain: Difference, rules: GateRules) -> Slice:
    old, new = (_value(tallies[name], days, group) for name in (CHAMPION, CHALLENGER))
    return Slice(*group, old, new, gain.rows, gate.is_worse(gain, rules))


def _value(tally: Tally, days: list[int], group: Group) -> float | None:
    sums = tally.matrix(days, group).sum(axis=0)
    value = float(tally.score.value(sums)) if sums[0] else math.nan
    return None if math.isnan(value) else value
