import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import scores
from pipeline.tally import ALL, Tally

SCORES = ["accuracy", "macro_f1", "rmse"]
DAYS = [100, 101, 102, 103]


def some_rows(name, seed, n):
    """Return days (n,), truths, predictions and channels of n random rows."""
    random = np.random.default_rng(seed)
    if name == "rmse":
        truth, predictions = random.normal(size=n), random.normal(size=n)
    else:
        truth, predictions = random.choice(list("abcd"), n), random.choice(list("abcd"), n)
    return np.sort(random.choice(DAYS, n)), truth, predictions, random.choice(["app", "web"], n)


def tally(name, rows, *parts):
    """Add rows in parts, each an array of row numbers (by default all rows at once)."""
    score = scores.get(name)
    found = Tally(score, resample=True)
    days, truth, predictions, channels = rows
    for part in parts or [np.arange(len(days))]:
        found.add(days[part], {"channel": channels[part]}, score.rows(truth[part], predictions[part]))
    return found


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 80), cuts=st.lists(st.integers(0, 80), max_size=4))
def test_neither_the_order_of_rows_nor_the_ends_of_batches_matter(name, seed, n, cuts):
    rows = some_rows(name, seed, n)
    whole = tally(name, rows)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = tally(name, rows, *(part for part in np.split(order, sorted(min(cut, n) for cut in cuts)) if len(part)))
    assert shuffled.days() == whole.days()
    assert shuffled.groups() == whole.groups()
    for group in [ALL, *whole.groups()]:
        sums, others = (one.matrix(DAYS, group) for one in (whole, shuffled))
        assert others[:, 0].tolist() == sums[:, 0].tolist()
        assert whole.score.loss(others) == pytest.approx(whole.score.loss(sums), nan_ok=True)


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_point_and_its_variance_are_the_same_wherever_batches_end(name, seed, cuts):
    rows = some_rows(name, seed, 200)
    batches = [part for part in np.split(np.arange(200), sorted(cuts)) if len(part)]
    whole, batched = tally(name, rows).point(DAYS, 4), tally(name, rows, *batches).point(DAYS, 4)
    assert dataclasses.astuple(batched) == pytest.approx(dataclasses.astuple(whole), rel=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_a_day_is_the_same_point_whichever_other_days_are_scored_with_it(name):
    rows = some_rows(name, 0, 400)
    alone = [np.flatnonzero(rows[0] == 102)]
    assert tally(name, rows).point([102], 1) == pytest.approx(tally(name, rows, *alone).point([102], 1))


@pytest.mark.parametrize("name", SCORES)
def test_pooled_days_are_the_score_of_all_their_rows(name):
    rows = some_rows(name, 1, 300)
    days, truth, predictions, _ = rows
    pooled = tally(name, rows).point([101, 103], 3)
    held = np.isin(days, [101, 103])
    score = scores.get(name)
    sums = np.asarray(score.rows(truth[held], predictions[held]).sum(axis=0)).ravel()
    assert (pooled.day, pooled.days, pooled.rows) == (103, 3, held.sum())
    assert pooled.loss == pytest.approx(float(score.loss(sums)))


def test_the_variance_of_a_mean_is_that_of_its_pooled_rows():
    rows = some_rows("accuracy", 2, 500)
    right = rows[1] == rows[2]
    assert tally("accuracy", rows).point(DAYS, 4).variance == pytest.approx(np.var(right, ddof=1) / 500)


@pytest.mark.parametrize("name", SCORES)
def test_the_parts_of_a_point_are_its_slices_each_with_its_own_variance(name):
    found = tally(name, some_rows(name, 0, 600))
    whole = found.point(DAYS, 5)
    parts = [found.part(whole, DAYS, group) for group in found.groups()]
    assert sum(part.rows for part in parts) == whole.rows == 600
    assert {(part.day, part.days) for part in parts} == {(103, 5)}
    for group, part in zip(found.groups(), parts, strict=True):
        sums = found.matrix(DAYS, group).sum(axis=0)
        assert part.loss == found.score.loss(sums)
        assert part.variance == pytest.approx(whole.variance * whole.rows / part.rows, rel=0.05)
    nobody = found.part(whole, DAYS, ("channel", "nowhere"))
    assert nobody.rows == 0
    assert np.isinf(nobody.variance)


def test_the_bootstrapped_variance_is_near_that_of_repeated_samples():
    repeated = [tally("macro_f1", some_rows("macro_f1", seed, 400)) for seed in range(200)]
    losses = [one.loss() for one in repeated]
    bootstrapped = np.mean([one.point(one.days(), 4).variance for one in repeated[:20]])
    assert bootstrapped == pytest.approx(np.var(losses), rel=0.3)


def test_the_slices_of_a_column_share_out_all_rows():
    found = tally("accuracy", some_rows("accuracy", 3, 200))
    assert found.groups() == [("channel", "app"), ("channel", "web")]
    shared = found.matrix(DAYS, ("channel", "app")) + found.matrix(DAYS, ("channel", "web"))
    assert shared.tolist() == found.matrix(DAYS).tolist()


def test_days_and_slices_without_rows_are_rows_of_zeros():
    found = tally("accuracy", some_rows("accuracy", 3, 50))
    assert found.matrix([99, *DAYS])[0].tolist() == [0, 0, 0]
    assert found.matrix([99, 100], ("channel", "nowhere"))[:, 0].tolist() == [0, 0]
    assert found.matrix([])[:, 0].tolist() == []
    assert np.isnan(Tally(scores.get("accuracy")).loss())


def test_tallies_of_one_score_number_the_classes_alike_whichever_of_them_meets_a_class_first():
    score = scores.get("macro_f1")
    truth = np.array(["a", "b", "c"])
    one, other = Tally(score), Tally(score)
    one.add(np.array([100] * 3), {}, score.rows(truth, np.array(["z", "b", "c"])))
    other.add(np.array([100] * 3), {}, score.rows(truth, np.array(["a", "b", "x"])))
    width = max(one.matrix([100]).shape[1], other.matrix([100]).shape[1])
    summed = one.matrix([100], width=width) + other.matrix([100], width=width)
    both = np.array(["z", "b", "c", "a", "b", "x"])
    expected = scores.get("macro_f1")
    assert float(score.value(summed[0])) == pytest.approx(
        float(expected.value(np.asarray(expected.rows(np.tile(truth, 2), both).sum(axis=0)).ravel()))
    )
