import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import detectors
from pipeline.config import Degradation
from pipeline.detection import WAITING, cool, decide
from pipeline.detectors import FROZEN, SLICES, STALE, Others, chance, shares, state
from pipeline.evaluation import Evaluation
from pipeline.tally import Point
from pipeline.verdict import Decision, Verdict
from tests.parts import point

RULE = Degradation(smallest_drop=0.02, false_alarms_per_year=0.05)
AT = datetime(2026, 3, 1, 5, tzinfo=UTC)


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
    found = state([point(day, loss) for day in range(10)], [point(day, loss) for day in range(10, 400)], RULE)
    assert not found.paths["fast"].any()
    assert found.evidence < 0.1


def test_a_drop_is_found_soon_and_is_said_in_words():
    reference, points = history(1, 28), history(2, 10, worse=0.05)
    verdict = judged(reference, points)
    assert verdict.outcome == Decision.RETRAIN
    assert "degraded: the loss went from 0.15" in verdict.reasons[0]
    assert "over the newest 5 points" in verdict.reasons[0]
    assert verdict.numbers["evidence"] > 1


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
    here = state(reference, points, RULE)
    there = state(scaled(reference), scaled(points), RULE.model_copy(update={"smallest_drop": 0.02 * unit}))
    for name, path in here.paths.items():
        assert there.paths[name] == pytest.approx(path, rel=1e-6)
    assert there.levels == pytest.approx(here.levels)
    assert (there.reference, there.spread) == pytest.approx((here.reference * unit, here.spread * unit))


def test_what_is_usual_on_a_day_of_the_week_is_no_degradation_and_hides_none():
    def weekly(points):
        return [replace(one, loss=one.loss + (0.03 if one.day % 7 > 4 else 0)) for one in points]

    reference, usual = weekly(history(1, 28)), weekly(history(2, 28))
    assert state(reference, usual, RULE).spread < 0.01
    assert judged(reference, usual).outcome == Decision.KEEP
    assert judged(reference, weekly(history(2, 28, worse=0.05))).outcome == Decision.RETRAIN


def test_what_earlier_champions_saw_is_noise_to_this_one_as_well():
    reference, points = history(1, 28), history(2, 20, spread=0.02, worse=0.01)
    wandering = [history(seed, 28 * 6, spread=0.03) for seed in (3, 4)]
    alone, taught = state(reference, points, RULE), state(reference, points, RULE, Others(wandering))
    assert taught.spread == pytest.approx(0.03, rel=0.3)
    assert taught.spread > 2 * alone.spread
    assert taught.levels["fast"] > 2 * alone.levels["fast"]


def test_a_drop_that_is_new_is_not_learnt_as_noise():
    reference, points = history(1, 28), history(2, 55, worse=0.1)
    assert state(reference, points, RULE).spread < 1.1 * state(reference, [], RULE).spread


def test_the_guaranteeing_detector_finds_a_long_small_drop_alone():
    found = state(history(1, 28, rows=2000), history(2, 120, rows=2000, worse=0.02), RULE)
    assert found.paths["guarantee"][-1] > found.levels["guarantee"]
    found = state(history(1, 28, rows=2000), history(2, 120, rows=2000, worse=0.008), RULE)
    assert found.paths["guarantee"][-1] < found.levels["guarantee"]


def test_the_e_value_is_the_guaranteeing_detectors_evidence_over_the_points_that_it_is_made_of():
    reference, usual, worse = history(1, 28), history(2, 40), history(2, 40, worse=0.05)
    found = state(reference, worse, RULE)
    assert found.e_value == pytest.approx(np.exp(found.paths["guarantee"][-1]) / 40)
    assert judged(reference, worse).numbers["e_value"] == found.e_value > 1000
    assert judged(reference, usual).numbers["e_value"] < 1


def test_without_a_point_there_is_no_e_value_and_none_is_too_high_for_a_number():
    assert "e_value" not in judged(history(1, 28), []).numbers
    collapsed = state(history(1, 28, rows=2000), history(2, 400, rows=2000, worse=0.6), RULE)
    assert collapsed.paths["guarantee"][-1] > 1000
    assert 1e300 < collapsed.e_value < np.inf


def test_of_unchanged_champions_no_more_have_a_high_e_value_than_markovs_inequality_allows():
    found = [state(history([seed, 0], 28), history([seed, 1], 20), RULE).e_value for seed in range(200)]
    for high in (2, 5, 20):
        assert np.mean(np.array(found) >= high) <= 1 / high


@pytest.mark.parametrize("references", [5, 8, 28])
def test_a_collapse_is_found_within_days_however_little_is_known_and_is_not_forgotten(references):
    reference, usual = history(1, references, rows=40), history(2, 7, rows=40)
    for days in (5, 10, 20):
        collapsed = history(3, days, rows=40, worse=0.7)
        assert state(reference, [*usual, *collapsed], RULE).evidence > 1


def test_a_chain_of_small_losses_is_found_by_the_first_deployments_loss():
    reference, points = history(1, 28, rows=2000, level=0.145), history(2, 300, rows=2000, level=0.155)
    assert judged(reference, points).outcome == Decision.KEEP
    found = decide(reference, points, evaluation(), RULE, 500, Others(first=0.14))
    assert found.outcome == Decision.RETRAIN
    assert found.numbers["first_reference"] == 0.14
    assert found.numbers["frozen"] > found.numbers["frozen_level"]
    assert found.reasons[1].startswith("it was 0.140 at the first deployment")


@pytest.mark.parametrize("first", [0.12, 0.16, None])
def test_who_had_not_recovered_or_is_better_is_not_held_against_the_first_deployment(first):
    reference, points = history(1, 28, rows=2000), history(2, 28, rows=2000)
    alone, beside = state(reference, points, RULE), state(reference, points, RULE, Others(first=first))
    assert beside.levels == alone.levels
    assert list(beside.paths) == ["fast", "collapse", "guarantee"]


def test_who_stays_within_half_a_drop_of_the_first_deployment_keeps_its_share_of_the_false_alarms():
    random, alarms, there = np.random.default_rng(8), 0, 0
    for losses in random.binomial(500, 0.15, (100, 28 + 364)) / 500:
        history = [point(day, loss, 500) for day, loss in enumerate(losses)]
        found = state(history[:28], history[28:], RULE, Others(first=0.141))
        there += "frozen" in found.paths
        alarms += "frozen" in found.paths and found.paths["frozen"].max() > found.levels["frozen"]
    assert there > 50
    assert alarms <= 1


def sliced(worse, slices=5, days=90):
    """Return the reference and points of slices with 200 rows a day; the first is ``worse`` from day 30 on."""
    found = {}
    for index in range(slices):
        usual = history(100 + index, 28 + days, rows=200)
        late = history(200 + index, days, rows=200, worse=worse if not index else 0)
        found[f"at = {index}"] = usual[:28], [*usual[28:58], *(replace(one, day=58 + one.day) for one in late)][:days]
    return found


def test_a_slice_that_degrades_alone_is_found_and_named():
    reference, points = history(1, 28, rows=1000), [replace(one, day=28 + one.day) for one in history(2, 90, rows=1000)]
    kept = decide(reference, points, evaluation(), RULE, 500, Others(slices=sliced(0.0)))
    assert kept.outcome == Decision.KEEP
    assert kept.numbers["slices"] < kept.numbers["slices_level"]
    found = decide(reference, points, evaluation(), RULE, 500, Others(slices=sliced(0.15)))
    assert found.outcome == Decision.RETRAIN
    assert found.reasons[1].startswith("slice at = 0: its loss went from 0.1")
    assert found.numbers["slices"] > found.numbers["slices_level"]


def test_the_slices_take_their_share_from_the_other_detectors_and_no_more():
    alone, all_of_them = shares(RULE), shares(RULE, FROZEN, SLICES, STALE)
    assert all_of_them.keys() - alone.keys() == {"frozen", "slices", "stale"}
    assert sum(alone.values()) == pytest.approx(chance(RULE))
    assert sum(all_of_them.values()) == pytest.approx(chance(RULE))


def gaps(seed, days, ahead=0.0, first=0):
    """Return how far a control is ahead: by chance, and on the last days of ``days`` by ``ahead``."""
    random = np.random.default_rng(seed)
    return [point(first + day, loss, 500, 1e-4) for day, loss in enumerate(random.normal(ahead, 0.01, days))]


def test_a_champion_that_falls_behind_a_fresh_fit_is_stale_before_its_own_score_tells():
    reference, points = history(1, 28, spread=0.02), history(2, 40, spread=0.02)
    assert judged(reference, points).outcome == Decision.KEEP
    usual = gaps(3, 36)
    assert (
        decide(reference, points, evaluation(), RULE, 500, Others(gaps=[*usual, *gaps(4, 4)])).outcome == Decision.KEEP
    )
    found = decide(reference, points, evaluation(), RULE, 500, Others(gaps=[*usual, *gaps(4, 4, ahead=0.06)]))
    assert found.outcome == Decision.RETRAIN
    assert found.numbers["stale"] > found.numbers["stale_level"]
    assert found.reasons[1].startswith("the champion is stale: ")


def test_where_both_fall_the_data_got_harder():
    reference, points = history(1, 28), [*history(2, 30), *history(3, 10, worse=0.1)]
    found = decide(reference, points, evaluation(), RULE, 500, Others(gaps=gaps(3, 40)))
    assert found.outcome == Decision.RETRAIN
    assert found.numbers["stale"] < found.numbers["stale_level"]
    assert found.reasons[1].startswith(
        "the data got harder, or changed too lately to be learnt: the champion's loss changed by +0.1"
    )


def test_the_first_gaps_are_the_reference_and_no_evidence():
    reference, points = history(1, 28), history(2, 28)
    assert "stale" not in state(reference, points, RULE, Others(gaps=gaps(3, 28))).paths
    alone, beside = state(reference, points, RULE), state(reference, points, RULE, Others(gaps=[]))
    assert all(beside.levels[name] > level for name, level in alone.levels.items())


def test_slices_without_a_reference_and_days_without_one_are_no_evidence():
    reference, points = history(1, 28), history(2, 20)
    young, absent = (reference[:2], points), (reference, [])
    found = state(reference, points, RULE, Others(slices={"at = new": young, "at = gone": absent}))
    assert found.ratios["slices"] < 0
    verdict = decide(reference, points, evaluation(), RULE, 500, Others(slices={"at = gone": absent}))
    assert np.isfinite(list(verdict.numbers.values())).all()
    assert state(reference, points, RULE, Others(slices={"at = new": young})).ratios["slices"] == 0
    assert state(reference, [], RULE, Others(slices={"at = old": (reference, [])})).evidence == 0


def test_unchanged_slices_keep_their_share_of_the_false_alarms():
    """With 28 points of a reference, its error included; 100 years of 364 days and 8 slices each."""
    random, alarms, years = np.random.default_rng(7), 0, 100
    losses = random.binomial(60, 0.15, (years, 8, 28 + 364)) / 60
    days = list(range(28, 28 + 364))
    for year in losses:
        slices = {
            str(index): ([point(day, loss, 60) for day, loss in enumerate(one[:28])],
                         [point(day, loss, 60) for day, loss in enumerate(one[28:], 28)])
            for index, one in enumerate(year)
        }  # fmt: skip
        path, _ = detectors._slices(days, slices, 0.02)
        alarms += path.max() > math.log(364 / shares(RULE, FROZEN, SLICES, STALE)["slices"])
    assert alarms <= 1


def test_fewer_false_alarms_want_more_evidence_and_so_do_more_points_a_year():
    def levels(false_alarms, days):
        reference = [point(7 * day, loss, variance=1e-4, days=days) for day, loss in enumerate([0.1, 0.12, 0.14] * 5)]
        return state(reference, [], RULE.model_copy(update={"false_alarms_per_year": false_alarms})).levels

    rare, usual, often, weekly, seldom = (
        levels(0.01, 1),
        levels(0.05, 1),
        levels(1.0, 1),
        levels(0.05, 7),
        levels(0.05, 90),
    )
    for name in usual:
        assert rare[name] > usual[name] > often[name] > 0
        assert usual[name] > weekly[name] > seldom[name]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(28)))
def test_the_order_of_the_reference_does_not_move_its_mean(seed, order):
    reference = history(seed, 28)
    shuffled = [replace(reference[index], day=day) for day, index in enumerate(order)]
    here, there = state(reference, history(2, 5), RULE), state(shuffled, history(2, 5), RULE)
    assert there.reference == pytest.approx(here.reference, abs=0.01)


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
