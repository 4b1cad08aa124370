from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import detection
from pipeline.config import Degradation
from pipeline.detection import WAITING, cool, cusum, decide
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict
from tests.parts import point

RULE = Degradation(smallest_drop=0.02, false_alarms_per_year=0.05)
AT = datetime(2026, 3, 1, 5, tzinfo=UTC)


@pytest.fixture
def _coarse(monkeypatch):
    """A threshold from fewer simulated years: many are made in a test."""
    monkeypatch.setattr(detection, "SIMULATIONS", 500)
    detection._threshold.cache_clear()
    yield
    detection._threshold.cache_clear()


def evaluation(rows=1000, score=0.85, faults=()):
    return Evaluation("2026-02-22..2026-02-28", rows, score, 0.8, 0.9, [], [], list(faults), [])


def history(seed, days, rows=500, level=0.15, spread=0.0, worse=0.0):
    """Return simulated points: the true loss wanders by ``spread`` around ``level`` and is ``worse`` than that."""
    random = np.random.default_rng(seed)
    truth = np.clip(level + worse + spread * random.normal(size=days), 0, 1)
    return [point(day, loss, rows) for day, loss in enumerate(random.binomial(rows, truth) / rows)]


def judged(reference, points, found=None, minimum_rows=500):
    return decide(reference, points, found or evaluation(), RULE, minimum_rows)


@pytest.mark.parametrize("loss", [0.0, 0.15, 1.0])
def test_a_history_that_never_changes_raises_no_evidence(loss):
    state = cusum([point(day, loss) for day in range(10)], [point(day, loss) for day in range(10, 400)], RULE)
    assert state.path == (0.0,) * 390
    assert not state.alarm


def test_a_drop_is_found_soon_and_is_said_in_words():
    reference, points = history(1, 28), history(2, 10, worse=0.05)
    verdict = judged(reference, points)
    assert verdict.outcome == Decision.RETRAIN
    assert "degraded: the loss rose from 0.15" in verdict.reasons[0]
    assert "over the newest 5 points" in verdict.reasons[0]
    assert verdict.numbers["cusum"] > verdict.numbers["threshold"]


def test_a_drop_after_a_history_without_any_noise_is_found():
    quiet = [point(day, 0.1, variance=0.0) for day in range(10)]
    assert judged(quiet, quiet).outcome == Decision.KEEP
    assert judged(quiet, [*quiet, point(10, 0.13, variance=0.0)]).outcome == Decision.RETRAIN


@pytest.mark.parametrize("change", [-0.1, -0.01, 0.0])
def test_a_score_that_is_no_worse_is_kept(change):
    verdict = judged(history(1, 28), history(2, 60, worse=change))
    assert verdict.outcome == Decision.KEEP
    assert verdict.reasons[0].startswith("not degraded: evidence")


def test_one_bad_day_is_not_yet_a_degradation_but_a_week_of_such_days_is():
    reference, usual = history(1, 28), history(2, 20)
    bad = [point(day, 0.21) for day in range(20, 27)]
    assert judged(reference, [*usual, bad[0]]).outcome == Decision.KEEP
    assert judged(reference, [*usual, *bad]).outcome == Decision.RETRAIN


def test_a_new_reference_starts_anew_at_its_own_level():
    degraded = history(2, 30, worse=0.1)
    assert judged(history(1, 28), degraded).outcome == Decision.RETRAIN
    assert judged(degraded, []).outcome == Decision.KEEP
    assert judged(degraded, history(3, 30, worse=0.1)).outcome == Decision.KEEP


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_do_not_matter(unit):
    def scaled(points):
        return [Point(one.day, one.days, one.rows, one.loss * unit, one.variance * unit**2) for one in points]

    reference, points = history(1, 28, spread=0.01), history(2, 40, worse=0.01)
    here = cusum(reference, points, RULE)
    there = cusum(scaled(reference), scaled(points), RULE.model_copy(update={"smallest_drop": 0.02 * unit}))
    assert there.path == pytest.approx(here.path, rel=1e-6)
    assert there.threshold == pytest.approx(here.threshold, rel=1e-6)
    assert (there.reference, there.spread) == pytest.approx((here.reference * unit, here.spread * unit))


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.floats(-3, 3), min_size=1, max_size=50))
def test_the_path_is_pages_recursion(steps):
    level, expected = 0.0, []
    for step in steps:
        level = max(0.0, level + step)
        expected.append(level)
    assert detection._paths(np.array(steps)) == pytest.approx(expected, abs=1e-9)


def test_the_path_so_far_does_not_depend_on_points_to_come_beyond_their_pooled_variance():
    reference, points = history(1, 28), history(2, 40)
    assert cusum(reference, points[:20], RULE).path == pytest.approx(cusum(reference, points, RULE).path[:20], rel=0.05)


def test_fewer_false_alarms_want_more_evidence_and_so_do_more_points_a_year():
    def threshold(false_alarms, days):
        reference = [point(7 * day, loss, variance=1e-4, days=days) for day, loss in enumerate([0.1, 0.12, 0.14] * 5)]
        return cusum(reference, [], RULE.model_copy(update={"false_alarms_per_year": false_alarms})).threshold

    assert threshold(0.01, 1) > threshold(0.05, 1) > threshold(1.0, 1) > 0
    assert threshold(0.05, 1) > threshold(0.05, 7) > threshold(0.05, 90)


@pytest.mark.usefixtures("_coarse")
@pytest.mark.parametrize(("rows", "spread"), [(500, 0.0), (500, 0.01)])
def test_the_share_of_years_with_a_false_alarm_is_near_the_configured_one(rows, spread):
    alarms = 0
    for seed in range(250):
        points = history(seed, 28 + 365, rows, spread=spread)
        state = cusum(points[:28], points[28:], RULE)
        alarms += max(state.path) > state.threshold
    assert 0.01 <= alarms / 250 <= 0.12


@pytest.mark.usefixtures("_coarse")
def test_a_drop_of_five_points_is_found_within_a_week():
    delays = []
    for seed in range(60):
        state = cusum(history(seed, 28), history(1000 + seed, 20, worse=0.05), RULE)
        delays.append(1 + int(np.argmax(np.array(state.path) > state.threshold)))
        assert max(state.path) > state.threshold
    assert np.median(delays) <= 4
    assert np.quantile(delays, 0.9) <= 7


NOT_A_NUMBER = point(30, 0.2, variance=float("nan"))


@pytest.mark.parametrize(
    ("reference", "points", "found", "words"),
    [
        (history(1, 28), [], evaluation(rows=499), "499 matured rows in 2026-02-22..2026-02-28; at least 500"),
        (history(1, 28), [], evaluation(rows=0, score=None), "0 matured rows"),
        (history(1, 28), [], evaluation(score=None), "the score is not defined on the 1000 rows"),
        (history(1, 2), history(2, 9), evaluation(), "the reference has 2 points"),
        ([], history(2, 9), evaluation(), "the reference has 0 points"),
        (history(1, 28), [*history(2, 9), NOT_A_NUMBER], evaluation(), "a point that is no number"),
        ([*history(1, 28), NOT_A_NUMBER], history(2, 9, worse=0.5), evaluation(), "a point that is no number"),
    ],
)
def test_what_cannot_be_told_is_insufficient_and_never_kept(reference, points, found, words):
    verdict = judged(reference, points, found)
    assert verdict.outcome == Decision.INSUFFICIENT
    assert words in verdict.reasons[0]


def test_bad_data_come_before_everything_else():
    bad = evaluation(rows=0, score=None, faults=["volume: 0 rows", "nulls: title"])
    assert judged([], [], bad) == Verdict(Decision.DATA_BAD, ("volume: 0 rows", "nulls: title"))
    assert judged(history(1, 28), history(2, 30, worse=0.3), bad).outcome == Decision.DATA_BAD


RETRAIN = Verdict(Decision.RETRAIN, ("degraded",), {"cusum": 9.0})


@pytest.mark.parametrize(
    ("verdict", "last", "outcome"),
    [
        (RETRAIN, None, Decision.RETRAIN),
        (RETRAIN, AT - timedelta(days=2), Decision.RETRAIN),
        (RETRAIN, AT - timedelta(days=2) + timedelta(seconds=1), Decision.KEEP),
        (Verdict(Decision.DATA_BAD, ("nulls",)), AT - timedelta(hours=1), Decision.DATA_BAD),
        (Verdict(Decision.KEEP, ("fine",)), AT - timedelta(hours=1), Decision.KEEP),
    ],
)
def test_a_retraining_waits_until_the_one_before_has_cooled(verdict, last, outcome):
    cooled = cool(verdict, AT, last, timedelta(days=2))
    assert cooled.outcome == outcome
    assert cooled.reasons[: len(verdict.reasons)] == verdict.reasons
    waits = outcome == Decision.KEEP and verdict is RETRAIN
    assert (WAITING in cooled.numbers) is waits
    assert ("not again before 2026-03-01 (training.cooldown)" in cooled.reasons[-1]) is waits
