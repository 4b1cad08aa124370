import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline import scores
from pipeline.comparison import Pairs, difference, discordant
from pipeline.tally import Tally

SCORE = scores.get("mae")


def sums(losses):
    """Return (days, 3) sums of absolute errors, one array of row losses a day."""
    return np.array([(len(day), np.sum(day), np.sum(np.square(day))) for day in losses], dtype=float)


def days_of(random, days, rows, level=0.3, spread=0.0):
    """Return 0/1 row losses of days whose true loss wanders by ``spread``."""
    return [(random.random(rows) < level + spread * random.normal()).astype(float) for _ in range(days)]


@st.composite
def days_of_rows(draw):
    """Return truth and two predictions (n,) of rows, and their days (n,)."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    days, rows = draw(st.integers(2, 12)), draw(st.integers(1, 30))
    truth = random.normal(size=days * rows)
    return truth, *(truth + random.gumbel(size=(2, days * rows))), np.repeat(np.arange(days), rows)


def compared(truth, first, second, days, batches=1):
    """Compare the absolute errors of two models from rows that come in so many batches."""
    tallies = Tally(SCORE), Tally(SCORE)
    for rows in np.array_split(np.arange(len(truth)), batches):
        for tally, predictions in zip(tallies, (first, second), strict=True):
            tally.add(days[rows], {}, SCORE.rows(truth[rows], predictions[rows]))
    found = difference(SCORE, *(tally.matrix(tally.days()) for tally in tallies), 0.95)
    return np.array([found.estimate, found.low, found.high])


@settings(max_examples=30, deadline=None)
@given(case=days_of_rows(), seed=st.integers(0, 100), batches=st.integers(1, 5), unit=st.floats(1e-3, 1e3))
def test_what_does_not_matter_changes_nothing(case, seed, batches, unit):
    """The order of rows and of days, where a batch ends within a day, the unit; and which model is the first."""
    truth, first, second, days = case
    random, found = np.random.default_rng(seed), compared(*case)
    order, day_order = random.permutation(len(truth)), random.permutation(days.max() + 1)
    assert compared(*(column[order] for column in case), batches) == pytest.approx(found)
    assert compared(truth, first, second, day_order[days]) == pytest.approx(found)
    assert compared(truth * unit, first * unit, second * unit, days) == pytest.approx(found * unit)
    assert compared(truth, second, first, days) == pytest.approx(-found[[0, 2, 1]])


def test_the_error_of_a_mean_is_at_least_the_textbooks_for_clusters_of_equal_size():
    random = np.random.default_rng(0)
    first, second = days_of(random, 12, 50), days_of(random, 12, 50, 0.25)
    gains = np.array([a.mean() - b.mean() for a, b in zip(first, second, strict=True)])
    half = stats.t.ppf(0.9, 11) * gains.std(ddof=1) / np.sqrt(12)
    found = difference(SCORE, sums(first), sums(second), 0.9)
    assert found.estimate == pytest.approx(gains.mean())
    assert (found.estimate - found.low) / half == pytest.approx(1, abs=0.1)
    assert found.low <= gains.mean() - half < gains.mean() + half <= found.high
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
def test_the_lower_bound_exceeds_the_truth_no_more_often_than_it_may(days, spread):
    random = np.random.default_rng(5)
    equal = [
        difference(
            SCORE, sums(days_of(random, days, 80, 0.3, spread)), sums(days_of(random, days, 80, 0.3, spread)), 0.95
        )
        for _ in range(1000)
    ]
    assert 0.02 < np.mean([found.low > 0 for found in equal]) < 0.06


def test_rare_gross_errors_pass_for_a_gain_less_often_than_students_t_would_let_them():
    random, ones, found = np.random.default_rng(6), [np.ones(70)] * 7, []
    for _ in range(1000):
        gross = [1 + np.where(random.random(70) < 0.02, 1.0, -0.02 / 0.98) for _ in range(7)]
        gains = np.array([1 - day.mean() for day in gross])
        student = gains.mean() - stats.t.ppf(0.95, 6) * gains.std(ddof=1) / np.sqrt(7)
        found.append((difference(SCORE, sums(ones), sums(gross), 0.95).low > 0, student > 0))
    bounded, students = np.mean(found, axis=0)
    assert bounded < 0.06 < 0.08 < students


def test_bounds_are_finite_when_a_single_day_makes_the_difference():
    losses = [np.full(20, 0.3) for _ in range(14)]
    found = difference(SCORE, sums(losses), sums([losses[0] / 2, *losses[1:]]), 0.95)
    assert found.low < 0 < found.estimate < found.high < 1


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (0, 7), (12, 5), (60, 50), (900, 800)])
def test_the_mid_p_is_that_of_the_binomial_distribution(gained, lost):
    fair = stats.binom(gained + lost, 0.5)
    assert Pairs(gained, lost).p == pytest.approx(fair.sf(gained) + fair.pmf(gained) / 2)
    assert Pairs(gained, lost).p + Pairs(lost, gained).p == pytest.approx(1)


@pytest.mark.parametrize("score", [scores.get("accuracy"), scores.mean_of(lambda y, p: y != p, "lower", binary=True)])
def test_a_row_is_gained_when_only_the_second_model_is_right_whichever_way_the_score_counts(score):
    truth, first, second = (np.array(list(text)) for text in ("aaaaa", "aabbb", "abaab"))
    counts = discordant(score, score.rows(truth, first), score.rows(truth, second))
    assert counts.tolist() == [[0, 0], [0, 1], [1, 0], [1, 0], [0, 0]]
