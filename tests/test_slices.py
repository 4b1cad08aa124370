import math

import pytest

from pipeline.slices import Slice, worst_first


def names(slices, better):
    return [one.value for one in worst_first(slices, better)]


@pytest.mark.parametrize(("better", "order"), [("higher", ["b", "c", "a", "d"]), ("lower", ["a", "c", "b", "d"])])
def test_worst_first_goes_by_the_gain_and_puts_what_has_no_score_last(better, order):
    slices = [
        Slice("site", "d", 0.1, math.nan, 9),
        Slice("site", "a", 0.5, 0.7, 9),
        Slice("site", "b", 0.9, 0.8, 9),
        Slice("site", "c", 0.3, 0.3, 9),
    ]
    assert names(slices, better) == order


@pytest.mark.parametrize(("better", "order"), [("higher", ["low", "high", "none"]), ("lower", ["high", "low", "none"])])
def test_without_a_challenger_worst_first_goes_by_the_champions_score(better, order):
    slices = [Slice("s", "none", None, None, 1), Slice("s", "high", 9, None, 1), Slice("s", "low", 1, None, 1)]
    assert names(slices, better) == order


def test_a_slice_outside_its_margin_comes_before_one_that_loses_more_by_chance():
    slices = [Slice("s", "few rows", 0.9, 0.1, 3), Slice("s", "judged", 0.9, 0.8, 900, outside=True)]
    assert names(slices, "higher") == ["judged", "few rows"]
