import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline import scores
from pipeline.comparison import difference

SCORE = scores.get("mae")


def sums(losses):
    """Return (days, 3) sums of absolute errors, one array of row losses a day."""
    return np.array([(len(day), np.sum(day), np.sum(np.square(day))) for day in losses], dtype=float)


def days_of(random, days, rows, level=0.3, spread=0.0):
    """Return 0/1 row losses of days whose true loss wanders by ``spread``."""
    return [(random.random(rows) < level + spread * random.normal()).astype(float) for _ in range(days)]


def test_the_error_of_a_mean_is_the_textbooks_for_clusters_of_equal_size():
    random = np.random.default_rng(0)
    first, second = days_of(random, 12, 50), days_of(random, 12, 50, 0.25)
    gains = np.array([a.mean() - b.mean() for a, b in zip(first, second, strict=True)])
    half = stats.t.ppf(0.9, 11) * gains.std(ddof=1) / np.sqrt(12)
    found = difference(SCORE, sums(first), sums(second), 0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (gains.mean(), gains.mean() - half, gains.mean() + half)
    )
    assert (found.days, found.rows) == (12, 600)


def test_the_error_of_clusters_of_any_size_is_near_the_ratio_estimators():
    random = np.random.default_rng(1)
    sizes = random.integers(20, 400, 40)
    first = [days_of(random, 1, n, 0.3, 0.05)[0] for n in sizes]
    second = [days_of(random, 1, n, 0.3, 0.05)[0] for n in sizes]
    gains = np.array([(a - b).sum() for a, b in zip(first, second, strict=True)])
    overall = gains.sum() / sizes.sum()
    linearised = np.sqrt(40 / 39 * np.sum((gains - overall * sizes) ** 2)) / sizes.sum()
    found = difference(SCORE, sums(first), sums(second), 0.95)
    assert found.estimate == pytest.approx(overall)
    assert (found.estimate - found.low) / stats.t.ppf(0.95, 39) == pytest.approx(linearised, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), days=st.integers(2, 12), rows=st.integers(1, 30))
def test_exchanging_the_models_turns_the_difference_round(seed, days, rows):
    random = np.random.default_rng(seed)
    first, second = sums(days_of(random, days, rows)), sums(days_of(random, days, rows))
    there, back = difference(SCORE, first, second, 0.95), difference(SCORE, second, first, 0.95)
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_a_model_does_not_differ_from_itself(name):
    random = np.random.default_rng(0)
    score = scores.get(name)
    truth, predictions = (random.choice(list("abc"), (9, 30)) for _ in range(2))
    days = np.array([np.asarray(score.rows(*day).sum(axis=0)).ravel() for day in zip(truth, predictions, strict=True)])
    found = difference(score, days, days.copy(), 0.95)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_days_on_which_nothing_was_scored_do_not_count():
    random = np.random.default_rng(0)
    first, second = sums(days_of(random, 6, 20)), sums(days_of(random, 6, 20))
    gaps = np.insert(np.arange(6), [2, 4], -1)
    gapped = [np.where((gaps >= 0)[:, None], one[gaps], 0) for one in (first, second)]
    assert difference(SCORE, *gapped, 0.95) == difference(SCORE, first, second, 0.95)


def test_sums_of_different_widths_are_of_classes_that_only_one_model_met():
    score = scores.get("macro_f1")
    days = [("ab", "ab"), ("ba", "bb"), ("aa", "ab")]
    narrow = np.array([score.rows(np.array(list(y)), np.array(list(p))).sum(axis=0) for y, p in days])
    wide = np.array([score.rows(np.array(list(y)), np.array(["c", "c"])).sum(axis=0) for y, _ in days])
    assert difference(score, wide, narrow, 0.95).estimate > 0


@pytest.mark.parametrize(
    "losses", [np.zeros((0, 3)), sums([[0.1, 0.2]]), np.array([[2.0, 0.3, 0.1], [0.0, 0.0, 0.0]])],
    ids=["no day", "one day", "one day with rows"],
)  # fmt: skip
def test_fewer_than_two_days_tell_nothing(losses):
    assert difference(SCORE, losses, losses, 0.95) is None


def test_a_score_that_rests_on_one_day_tells_nothing():
    score = scores.get("average_precision")
    truth = [np.array(list(day), object) for day in ("0100", "0000", "0000")]
    good, poor = np.array([-1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 0.0, 1.0])
    first, second = (np.array([score.rows(day, shown).sum(axis=0) for day in truth]) for shown in (poor, good))
    assert difference(score, first, second, 0.95) is None
    assert difference(score, np.tile(first, (2, 1)), np.tile(second, (2, 1)), 0.95).estimate > 0


@pytest.mark.parametrize(("days", "spread"), [(4, 0.0), (28, 0.0), (28, 0.05)])
def test_the_lower_bound_exceeds_the_truth_as_often_as_it_may(days, spread):
    random = np.random.default_rng(5)
    equal = [
        difference(
            SCORE, sums(days_of(random, days, 80, 0.3, spread)), sums(days_of(random, days, 80, 0.3, spread)), 0.95
        )
        for _ in range(1000)
    ]
    assert 0.03 < np.mean([found.low > 0 for found in equal]) < 0.07
