import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import calibration, noise

LOSSES = st.lists(st.floats(-3, 3), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(-1, 1), st.floats(0.01, 3))
def test_the_cusum_is_the_most_that_any_of_the_newest_stretches_adds_up_to(losses, mean, drop):
    excess = np.array(losses) - mean - drop / 2
    most = [max(0, *(excess[first : last + 1].sum() for first in range(last + 1))) for last in range(len(losses))]
    assert calibration.cusum(np.array(losses), mean, drop) == pytest.approx(most, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(-1, 1), st.floats(0.01, 3), st.floats(0.5, 5))
def test_the_detector_adds_up_what_a_bet_on_each_day_as_the_first_would_have_become(losses, mean, drop, variance):
    bet = drop / 2 / variance
    odds = np.exp(bet * (np.array(losses) - mean - drop / 2) - bet**2 * variance / 2)
    sums = [sum(odds[first : last + 1].prod() for first in range(last + 1)) for last in range(len(losses))]
    assert calibration.detector(np.array(losses), mean, drop, variance) == pytest.approx(np.log(sums), abs=1e-6)


def test_champions_are_judged_side_by_side_as_alone():
    losses, means = np.random.default_rng(1).normal(size=(30, 3)), np.array([0.0, 0.5, 1.0])
    for rule in (calibration.cusum, lambda *given: calibration.detector(*given, 1.5)):
        alone = np.stack([rule(losses[:, one], means[one], 1.0) for one in range(3)], axis=1)
        assert rule(losses, means, 1.0) == pytest.approx(alone)


def certain(kind):
    return np.eye(len(noise.GRID))[kind]


@pytest.mark.parametrize("kind", [0, 29, 32])
@pytest.mark.parametrize("probability", [0.05, 0.3])
def test_as_many_unchanged_years_exceed_the_threshold_as_are_allowed(kind, probability):
    tau, rho = noise.GRID[kind]
    random = np.random.default_rng(7)
    days = np.zeros((14 + 100, 5000))
    days[0] = random.normal(size=5000)
    for day in range(1, len(days)):
        days[day] = rho * days[day - 1] + np.sqrt(1 - rho**2) * random.normal(size=5000)
    losses = tau * days + random.normal(size=days.shape)
    path = calibration.cusum(losses[14:], losses[:14].mean(axis=0), 1.5)
    level = calibration.threshold(certain(kind), 1.5, 14, 100, probability)
    assert (path.max(axis=0) > level).mean() == pytest.approx(probability, rel=0.2)


def test_a_rarer_alarm_a_longer_year_and_fewer_references_want_more():
    usual = calibration.threshold(certain(0), 1.5, 14, 100, 0.05)
    assert calibration.threshold(certain(0), 1.5, 14, 100, 0.01) > usual
    assert calibration.threshold(certain(0), 1.5, 14, 300, 0.05) > usual
    assert calibration.threshold(certain(0), 1.5, 5, 100, 0.05) > usual


def test_what_is_not_known_is_averaged_over():
    steady, wandering = certain(0), certain(40)
    low, high = (calibration.threshold(one, 1.5, 14, 100, 0.05) for one in (steady, wandering))
    assert low < calibration.threshold((steady + wandering) / 2, 1.5, 14, 100, 0.05) < high
    assert calibration.threshold(np.stack([steady, wandering]), 1.5, 14, 100, 0.05).tolist() == [low, high]
