import re

import numpy as np
import pytest

from pipeline import alarms, detectors, power
from pipeline.detectors import SLICES, STALE, Others
from pipeline.tally import Point
from tests import parts

VARIANCE, DROP = 0.15 * 0.85, 0.02


@pytest.fixture
def rules(tmp_path):
    def rules(drop=DROP, false_alarms=0.05, window="28d", minimum_rows=500, evaluation_window="7d", **evaluation):
        return parts.model(
            tmp_path,
            gate={"window": window},
            evaluation={"minimum_rows": minimum_rows, "window": evaluation_window, "slices": []} | evaluation,
            degradation={"smallest_drop": drop, "false_alarms_per_year": false_alarms},
        )

    return rules


@pytest.fixture
def promised(rules):
    return lambda rows, **changes: power.expected(VARIANCE, rows, rules(**changes))


@pytest.fixture
def told(rules):
    return lambda rows, **changes: list(power.told(VARIANCE, rows, rules(**changes)))


def test_more_rows_and_larger_drops_are_found_sooner(promised):
    usual = promised(2000)
    assert 2 <= usual.delay <= 6
    assert promised(500).delay > usual.delay
    assert promised(2000, drop=0.01).delay > usual.delay
    assert promised(2000, drop=0.05).delay < usual.delay


def test_false_alarms_are_as_rare_as_configured(promised):
    assert promised(2000).false_alarms <= 0.06
    assert promised(2000, false_alarms=1.0).false_alarms > 0.1


def test_what_slices_and_a_control_have_of_the_false_alarms_the_score_does_not_have(promised):
    alone, shared = promised(500), promised(500, slices=["channel"], control="7d")
    assert shared.delay > alone.delay
    assert shared.false_alarms <= 0.06


def test_few_rows_a_day_are_pooled_and_days_are_told(promised):
    found = promised(100)
    assert (found.pooled, found.delay % 5) == (5, 0)
    assert found.delay >= promised(500).delay


def test_a_drop_that_drowns_in_noise_is_never_found(promised):
    assert promised(500, drop=0.001).delay == power.NEVER


def test_the_gate_needs_four_times_the_rows_for_half_the_gain(promised):
    usual, half = promised(2000), promised(2000, drop=DROP / 2)
    assert half.gate_rows == pytest.approx(4 * usual.gate_rows, rel=0.01)
    assert 2000 < usual.gate_rows < 3000
    assert usual.held == 28 * 2000


def test_a_model_that_can_is_told_when_it_finds_a_drop_how_often_it_errs_and_what_the_gate_needs(told):
    (good, found), (rare, alarm), (enough, gain) = told(2000)
    assert good
    assert rare
    assert enough
    assert re.fullmatch(r"half of all drops of 0.02 are found within [2-6] days", found)
    assert re.fullmatch(r"a false alarm in [0-4]\.\d% of 500 simulated years without any drop; 4.9% are allowed", alarm)
    assert re.fullmatch(r"a gain of 0.02 takes 2,3\d\d rows to be seen four times of five; the gate has 56,000", gain)


RARE = {"drop": 0.04, "window": "730d", "minimum_rows": 60, "evaluation_window": "180d"}


@pytest.mark.parametrize(
    ("rows", "changes", "remedies"),
    [
        (500, {}, ["drop", "window"]),
        (100, {"drop": 0.01}, ["drop", "window"]),
        (1, RARE, ["drop", "false_alarms"]),
    ],
)
def test_what_a_model_that_cannot_is_told_to_change_is_what_it_then_has(told, promised, rows, changes, remedies):
    usual, (good, sentence) = promised(rows, **changes).delay, told(rows, **changes)[0]
    assert not good
    drop = changes.get("drop", DROP)
    never = f"most drops of {drop} are not found within a year: raise "
    assert sentence.startswith(never if usual == power.NEVER else f"half of all drops of {drop} are found only after ")
    found = re.findall(r"(drop|window|false_alarms)(?:_per_year)? to (\S+) \(then (\d+)d\)", sentence)
    assert [key for key, _, _ in found] == remedies
    for key, value, days in found:
        changed = promised(rows, **changes | {key: value if key == "window" else float(value)})
        assert changed.delay == int(days) <= min(0.75 * usual, 365)


def test_the_drop_that_is_told_is_the_smallest_of_a_ladder_that_is_found_within_a_week(told, promised):
    assert "raise degradation.smallest_drop to 0.04 " in told(500)[0][1]
    assert promised(500, drop=0.04).delay <= 7 < promised(500, drop=0.032).delay


def test_where_no_change_helps_that_is_told(told, promised):
    (good, sentence), *_, (enough, gain) = told(100, drop=0.001)
    assert not good
    assert not enough
    assert sentence.startswith("most drops of 0.001 are not found within a year; neither ")
    assert sentence.endswith("it takes more labelled rows")
    assert gain.endswith(
        "the gate has 2,800: lengthen gate.window to 9410d or raise degradation.smallest_drop to 0.019"
    )
    assert promised(100, drop=0.019).gate_rows <= 2800 < promised(100, drop=0.018).gate_rows


def test_a_gate_window_without_a_reference_is_told_how_long_one_has_to_be(told):
    ((good, sentence),) = told(30)
    assert not good
    assert sentence.startswith("gate.window 28d holds 1 of the 3 points of 500 rows (evaluation.minimum_rows)")
    assert sentence.endswith("lengthen gate.window to 51d")
    assert len(told(30, window="51d")) == 3


@pytest.mark.parametrize(("days", "references", "shared"), [(1, 28, False), (1, 5, True), (7, 6, True)])
def test_the_simulated_alarms_are_those_of_the_mornings(rules, days, references, shared):
    rule = rules().degradation.model_copy(update={"smallest_drop": 0.8})
    a_year = round(detectors.DAYS_A_YEAR / days)
    losses = np.random.default_rng(references).standard_normal((references + a_year, 4))
    losses[references + a_year // 3 :, :3] += 3 * 0.8
    alpha = detectors.shares(rule, *[SLICES, STALE] * shared)
    found = np.logical_or.reduce([*alarms.of(losses, references, 0.8, a_year, alpha, daily=days == 1).values()])
    assert found[:, :3].any(axis=0).all()
    assert not found[0].any()
    others = Others(slices={"at = 0": ([], [])}, gaps=[]) if shared else Others()
    for champion, column in enumerate(losses.T):
        points = [Point(days * n, days, 500, float(loss), 1.0) for n, loss in enumerate(column)]
        reference, since = points[:references], points[references:]
        first = int(found[:, champion].argmax())
        for n in {*range(0, a_year, 11), max(first - 1, 0), first, a_year - 1}:
            state = detectors.state(reference, since[: n + 1], rule, others)
            assert (state.evidence > 1) == found[n, champion], (champion, n, state.ratios)
