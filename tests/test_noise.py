import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from pipeline import noise

LENGTH = 28


def blocks(tau, rho, number, seed=1):
    """Return (number, LENGTH) points of an autoregressive process, made otherwise than in noise.py."""
    random = np.random.default_rng(seed)
    shocks = random.normal(0, tau * np.sqrt(1 - rho**2), number * LENGTH + 200)
    days = lfilter([1], [1, -rho], shocks)[200:]
    return (days + random.normal(size=number * LENGTH)).reshape(number, LENGTH)


def weighed(points):
    return noise.weights(noise.periodogram(points).sum(axis=-2), points.shape[-2], points.shape[-1], 3)


@pytest.mark.parametrize(("tau", "rho"), [(0, 0), (1, 0), (2, 0.6), (4, 0.3)])
def test_many_points_tell_spread_and_correlation(tau, rho):
    found = weighed(blocks(tau, rho, 200))
    assert found.sum() == pytest.approx(1)
    assert noise.spread(found) == pytest.approx(tau, rel=0.2, abs=0.2)
    true = 1 + tau**2 * (1 + rho) / (1 - rho)
    assert true / 1.5 <= noise.long_run_variance(found, 0.95) <= 2 * true


def test_few_points_leave_much_possible_so_that_more_is_guarded_against():
    few, many = (weighed(blocks(0, 0, number)) for number in (1, 50))
    assert noise.long_run_variance(few, 0.95) > 2 * noise.long_run_variance(many, 0.95)
    assert (few > 1e-3).sum() > 3 * (many > 1e-3).sum()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.lists(st.floats(-100, 100), min_size=4, max_size=4), st.booleans())
def test_neither_the_order_of_blocks_nor_their_level_nor_their_sign_says_anything(order, levels, mirrored):
    points = blocks(1, 0.3, 4)
    changed = (points[list(order)] + np.array(levels)[:, np.newaxis]) * (-1 if mirrored else 1)
    assert weighed(changed) == pytest.approx(weighed(points), abs=1e-9)


def test_leading_axes_are_models():
    points = np.stack([blocks(0, 0, 3), blocks(2, 0.5, 3)])
    assert weighed(points) == pytest.approx(np.stack([weighed(one) for one in points]))


@pytest.mark.parametrize("kind", [0, 3, 40, len(noise.GRID) - 1])
def test_simulated_points_are_as_the_grid_says(kind):
    tau, rho = noise.GRID[kind]
    points = np.array([one[kind] for one in itertools.islice(noise.simulated(40, 4000, np.random.default_rng(0)), 40)])
    assert points[[0, -1]].var(axis=1) == pytest.approx(1 + tau**2, rel=0.1)
    assert (points[1:] * points[:-1]).mean() == pytest.approx(tau**2 * rho, rel=0.1, abs=0.05)


WEEK = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 2.0])


@pytest.mark.parametrize("first", range(7))
def test_what_is_usual_on_a_day_of_the_week_is_found_whatever_day_comes_first(first):
    weekdays = (first + np.arange(8 * LENGTH).reshape(8, LENGTH)) % 7
    found = noise.weekly(blocks(0, 0, 8) + WEEK[weekdays], weekdays)
    assert found == pytest.approx(WEEK - WEEK.mean(), abs=0.5)


def test_days_that_are_alike_are_left_alone():
    found = noise.weekly(np.stack([blocks(0, 0, 2, seed) for seed in range(200)]), np.arange(56).reshape(2, 28) % 7)
    assert (found**2).mean() < 1 / 8 / 2
    assert (found == 0).all(axis=1).mean() > 0.2


@pytest.mark.parametrize("weekdays", [np.arange(21)[np.newaxis] % 7, np.tile([0, 1, 2], 20)[np.newaxis]])
def test_less_than_four_weeks_or_days_that_a_week_hardly_has_teach_nothing_of_the_week(weekdays):
    found = noise.weekly(WEEK[weekdays + 4 if weekdays.max() < 3 else weekdays], weekdays)
    assert found.tolist() == [0] * 7
