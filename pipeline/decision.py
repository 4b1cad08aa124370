"""A decision record: what a verdict was made from, and how it is made from that. decision.json of every run.

The verdict is a function of the recorded inputs alone, so whoever has the record can make it again.
"""

import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pipeline import calibration, detection, fingerprint
from pipeline.config import Degradation
from pipeline.detectors import FEWEST_REFERENCE_POINTS, Others
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict

FILE = "decision.json"
Row = tuple[int, int, int, float | None, float | None]
"""A point as JSON holds it: day, days, rows, loss, variance; null is nan."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a verdict depends on.

    ``champion``: the version that is judged, None when there is none yet. ``history_score``: what its history is of;
    ``evaluation`` and the points are there only when that is the configured ``score``. ``evaluation``: this morning's,
    but for what it added to the history. ``reference`` and ``since``: the history, as ``split`` has it; ``earlier``:
    the reference of each earlier champion (what came after may hold the drop that ended it); ``slices``: reference and
    points since of each slice; ``gaps``: to the control, None without one; ``first``: the loss of the first deployed
    version, None when this is it. ``retrained``: the logical time of the newest training; ``paused``: why a person has
    paused the model.
    """

    at: datetime
    score: str
    rule: dict[str, Any]
    minimum_rows: int
    cooldown: timedelta
    champion: str | None = None
    history_score: str | None = None
    evaluation: Evaluation | None = None
    reference: list[Row] = []
    since: list[Row] = []
    earlier: list[list[Row]] = []
    slices: dict[str, tuple[list[Row], list[Row]]] = {}
    gaps: list[Row] | None = None
    first: float | None = None
    retrained: datetime | None = None
    paused: str | None = None


class Record(msgspec.Struct, frozen=True):
    """A verdict (its outcome, reasons and numbers, as of a Verdict), its inputs, and the code that made it."""

    outcome: str
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    inputs: Inputs
    made_with: dict[str, str]
    seed: int


def of(inputs: Inputs, commit: str | None) -> Record:
    """Decide, and return the record of it; ``commit`` is that of the code at work."""
    verdict = decide(inputs)
    return Record(verdict.outcome, verdict.reasons, verdict.numbers, inputs, made_with(commit), calibration.SEED)


def decide(inputs: Inputs) -> Verdict:
    """Judge the champion."""
    if inputs.champion is None:
        verdict = Verdict(Decision.RETRAIN, ("there is no champion yet",))
    elif inputs.evaluation is None:
        changed = f"evaluation.score was {inputs.history_score} and is now {inputs.score}: a history begins anew"
        verdict = Verdict(Decision.RETRAIN, (changed,))
    else:
        verdict = detection.decide(
            points(inputs.reference),
            points(inputs.since),
            inputs.evaluation,
            Degradation.model_validate(inputs.rule),
            inputs.minimum_rows,
            _others(inputs),
        )
    cooled = detection.cool(verdict, inputs.at, inputs.retrained, inputs.cooldown)
    return detection.pause(cooled, inputs.paused)


def _others(inputs: Inputs) -> Others:
    return Others(
        [points(history) for history in inputs.earlier],
        {name: (points(reference), points(since)) for name, (reference, since) in inputs.slices.items()},
        None if inputs.gaps is None else points(inputs.gaps),
        inputs.first,
    )


def seen(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation as ``decide`` sees it: what it added to the history is told by the history."""
    return msgspec.structs.replace(evaluation, points=[], set_aside=[], slice_points={}, gaps=[])


def split(history: Sequence[Point], gate_end: int) -> tuple[list[Row], list[Row]]:
    """Return a champion's reference and the points since: the reference is the points of the gate's window.

    If those are too few to judge anything by, the first points after it make it up: else no morning ever could.
    """
    length = max(sum(point.day < gate_end for point in history), FEWEST_REFERENCE_POINTS)
    return rows(history[:length]), rows(history[length:])


def divided(histories: Mapping[str, Sequence[Point]], gate_end: int) -> dict[str, tuple[list[Row], list[Row]]]:
    """Return the reference of each slice, the points of the gate's window, and the points since."""
    return {
        name: (
            rows(point for point in history if point.day < gate_end),
            rows(point for point in history if point.day >= gate_end),
        )
        for name, history in histories.items()
    }


def rows(history: Iterable[Point]) -> list[Row]:
    """Return points as a record holds them."""
    return [astuple(point) for point in history]


def points(held: Iterable[Row]) -> list[Point]:
    """Return the points of a record."""
    return [
        Point(day, days, rows, *(math.nan if value is None else value for value in measured))
        for day, days, rows, *measured in held
    ]


def made_with(commit: str | None) -> dict[str, str]:
    """Return what a verdict's bits depend on beside its inputs: the versions of Zeta's code and of its packages."""
    # The image of tasks has the code alone: there the commit tells.
    installed = next((found.version for found in importlib.metadata.distributions(name="zeta")), "not installed")
    return {"zeta": installed, "commit": commit or "unknown"} | fingerprint.current([])
