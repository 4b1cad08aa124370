"""The decision record: a verdict and all that it was made from, in JSON and back."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline import decision
from pipeline.config import Degradation
from pipeline.decision import Inputs, Record
from pipeline.detection import WAITING
from pipeline.evaluation import Evaluation
from pipeline.verdict import Verdict
from tests.parts import point

AT = datetime(2026, 3, 1, 5, tzinfo=UTC)
EVALUATION = Evaluation("2026-02-22..2026-02-28", 3500, 0.9, 0.89, 0.91, [], [], [], [])
REFERENCE = [point(day, 0.1 + 0.003 * (day % 3)) for day in range(28)]
HELD = [point(day, 0.1 + 0.003 * (day % 4)) for day in range(28, 60)]
FELL = [*HELD, *(point(day, 0.3) for day in range(60, 70))]


def inputs(**changes):
    known = {
        "at": AT, "score": "accuracy", "rule": Degradation().model_dump(), "minimum_rows": 500,
        "cooldown": timedelta(days=2), "champion": "1", "history_score": "accuracy", "evaluation": EVALUATION,
        "reference": decision.rows(REFERENCE), "since": decision.rows(HELD),
    }  # fmt: skip
    return Inputs(**known | changes)


CASES = {
    "keep": inputs(),
    "retrain": inputs(since=decision.rows(FELL), earlier=[decision.rows(HELD)]),
    "keep beside slices": inputs(slices={"channel = app": (decision.rows(REFERENCE), decision.rows(HELD))}),
    "data_bad": inputs(evaluation=msgspec.structs.replace(EVALUATION, faults=["volume: 3 rows"])),
    "insufficient": inputs(since=decision.rows([*HELD, point(60, float("nan"), variance=0.1)])),
}


@pytest.mark.parametrize("outcome", CASES)
def test_a_record_that_was_written_and_read_makes_the_same_verdict_bit_for_bit(outcome):
    found = decision.of(CASES[outcome], "abc")
    assert found.outcome == outcome.split()[0]
    text = msgspec.json.encode(found)
    read = msgspec.json.decode(text, type=Record)
    assert msgspec.json.encode(decision.of(read.inputs, "abc")) == text


def test_slices_are_divided_where_the_gates_window_ended():
    found = decision.divided({"channel = app": [*REFERENCE, *HELD], "channel = new": HELD}, 28)
    assert found["channel = app"] == (decision.rows(REFERENCE), decision.rows(HELD))
    assert found["channel = new"] == ([], decision.rows(HELD))
    fell = decision.divided({"channel = app": [*REFERENCE, *(point(day, 0.4) for day in range(28, 60))]}, 28)
    assert decision.of(inputs(slices=fell), None).reasons[1].startswith("slice channel = app: its loss went from 0.103")


def test_a_record_reads_as_a_verdict():
    found = decision.of(CASES["keep"], None)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verdict) == Verdict(
        "keep", found.reasons, found.numbers
    )
    assert found.numbers


def test_a_record_names_the_code_that_made_it():
    made_with = decision.of(CASES["keep"], "abc").made_with
    assert made_with["commit"] == "abc"
    assert {"zeta", "python", "numpy", "scipy"} <= made_with.keys()


def test_cooldown_and_pause_are_part_of_the_record():
    fell = {"since": decision.rows(FELL)}
    for waiting in ({"retrained": AT - timedelta(days=1)}, {"paused": "new labels"}):
        found = decision.of(inputs(**fell, **waiting), None)
        assert (found.outcome, found.numbers[WAITING]) == ("keep", 1.0)


def test_without_a_champion_or_with_a_new_score_a_history_begins_anew():
    assert decision.decide(inputs(champion=None)).outcome == "retrain"
    changed = decision.decide(inputs(score="macro_f1", evaluation=None))
    assert (changed.outcome, changed.reasons) == (
        "retrain", ("evaluation.score was accuracy and is now macro_f1: a history begins anew",),
    )  # fmt: skip


def test_what_a_morning_added_to_the_history_is_no_input_of_its_own():
    first, again = (msgspec.structs.replace(EVALUATION, points=points, set_aside=["x"]) for points in (HELD, []))
    assert decision.seen(first) == decision.seen(again) == EVALUATION


@pytest.mark.parametrize(("gate_end", "expected"), [(28, 28), (5, 5), (2, 3), (0, 3)])
def test_a_reference_too_short_to_judge_by_is_made_up_from_the_first_points_after_it(gate_end, expected):
    reference, since = decision.split([*REFERENCE, *HELD], gate_end)
    assert decision.points([*reference, *since]) == [*REFERENCE, *HELD]
    assert len(reference) == expected
    assert decision.split(REFERENCE[:2], gate_end) == (decision.rows(REFERENCE[:2]), [])
