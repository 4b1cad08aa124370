from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config, scores
from pipeline.errors import ConfigError

NAMES = sorted(set().union(*config.SCORES.values()))
CLASSES = np.array([f"c{i}" for i in range(8)], dtype=object)


@pytest.fixture(scope="module")
def metrics():
    from sklearn import metrics

    return metrics


def label_sets(random, n, classes=CLASSES):
    return np.array(
        ["|".join(random.permutation(classes[random.random(len(classes)) < 0.3])) for _ in range(n)], object
    )


def sample(name, random, n):
    """Return n random truths and predictions of the kind that a score takes."""
    if name in ("mae", "rmse", "mape", "r2"):
        truth = random.normal(100, 30, n)
        return truth, truth + random.normal(0, 10, n)
    if name == "average_precision":
        log_odds = random.normal(-2, 1.5, n)
        return np.where(random.random(n) < 1 / (1 + np.exp(-log_odds)), "1", "0").astype(object), log_odds
    if name in ("top_5_accuracy", "recall_at_k"):
        ranking = np.array([random.permutation(CLASSES) for _ in range(n)], object)
        return (label_sets(random, n) if name == "recall_at_k" else random.choice(CLASSES, n)), ranking
    if name == "accuracy":
        return random.choice(CLASSES, n), random.choice(CLASSES, n)
    return label_sets(random, n), label_sets(random, n)


def total(score, truth, predictions):
    return np.asarray(score.rows(truth, predictions).sum(axis=0), dtype=float).ravel()


def value(name, truth, predictions, **options):
    score = scores.get(name, **options)
    return float(score.value(total(score, truth, predictions)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mae", "mean_absolute_error"),
        ("rmse", "root_mean_squared_error"),
        ("mape", "mean_absolute_percentage_error"),
        ("r2", "r2_score"),
        ("accuracy", "accuracy_score"),
    ],
)
def test_a_score_equals_scikit_learns(metrics, name, reference, seed):
    truth, predictions = sample(name, np.random.default_rng(seed), 200)
    assert value(name, truth, predictions) == pytest.approx(getattr(metrics, reference)(truth, predictions))


def test_a_percentage_error_of_nothing_is_as_large_as_scikit_learns(metrics):
    truth, predictions = np.array([0.0, 10.0]), np.array([1.0, 5.0])
    assert value("mape", truth, predictions) == pytest.approx(
        metrics.mean_absolute_percentage_error(truth, predictions)
    )


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize(
    ("true_classes", "predicted_classes"),
    [(CLASSES, CLASSES), (CLASSES[:5], CLASSES[3:]), (CLASSES[:1], CLASSES[:1]), (CLASSES[:3], CLASSES[:0])],
    ids=["the same classes", "classes unseen by either", "one class", "never a label predicted"],
)
def test_f1_of_label_sets_equals_scikit_learns(metrics, average, true_classes, predicted_classes):
    for seed in range(5):
        random = np.random.default_rng(seed)
        truth, predictions = label_sets(random, 60, true_classes), label_sets(random, 60, predicted_classes)
        classes = sorted(set("|".join([*truth, *predictions]).split("|")) - {""})
        both = np.array([[one in text.split("|") for one in classes] for text in [*truth, *predictions]])
        kind = average if len(classes) > 1 else "binary"
        expected = metrics.f1_score(both[:60], both[60:], average=kind, zero_division=0)
        assert value(f"{average}_f1", truth, predictions) == pytest.approx(expected)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_of_single_labels_equals_scikit_learns_also_with_classes_unseen_by_either(metrics, average):
    random = np.random.default_rng(0)
    truth, predictions = random.choice(CLASSES[:6], 90), random.choice(CLASSES[2:], 90)
    expected = metrics.f1_score(truth, predictions, average=average, zero_division=0)
    assert value(f"{average}_f1", truth, predictions) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["micro_f1", "macro_f1"])
def test_f1_is_not_defined_where_no_row_has_a_label_and_none_is_predicted(name):
    empty = np.array(["", ""], object)
    assert np.isnan(value(name, empty, empty))
    assert value(name, np.array(["a", ""], object), empty) == 0


@pytest.mark.parametrize(
    ("base", "spread", "scale", "step"),
    [
        (-2, 1.5, 1, 0),
        (-5, 2, 1, 0),
        (0, 0.4, 1, 0),
        (-2, 1.5, 0.1, 0),
        (-2, 1.5, 300, 0),
        (-2, 1.5, 1, 0.5),
        (0, 1, 1, 99),
    ],
    ids=["log-odds", "rare", "narrow", "small margins", "large margins", "many ties", "all tied"],
)
def test_average_precision_is_scikit_learns_within_one_point(metrics, base, spread, scale, step):
    for seed in range(5):
        random = np.random.default_rng(seed)
        log_odds = random.normal(base, spread, 3000)
        truth = random.random(3000) < 1 / (1 + np.exp(-log_odds))
        shown = np.round(scale * log_odds / step) * step if step else scale * log_odds
        expected = metrics.average_precision_score(truth, shown)
        assert value("average_precision", truth.astype(str).astype(object), shown) == pytest.approx(expected, abs=0.01)


def test_average_precision_is_not_defined_without_a_positive():
    assert np.isnan(value("average_precision", np.array(["0", "0"], object), np.array([1.0, -1.0])))


def test_r2_is_not_defined_where_the_truth_has_no_spread():
    truth = np.full(10, 0.1)
    assert np.isnan(value("r2", truth, truth + 0.05))
    assert np.isnan(value("r2", truth[:1], truth[:1]))


def test_r2_holds_for_a_truth_whose_mean_is_far_above_its_spread(metrics):
    random = np.random.default_rng(0)
    truth = random.normal(1e6, 100, 1000)
    predictions = truth + random.normal(0, 50, 1000)
    assert value("r2", truth, predictions) == pytest.approx(metrics.r2_score(truth, predictions), abs=1e-4)


def test_recall_is_the_share_of_the_wanted_answers_that_are_among_the_first_k():
    truth = np.array(["a|b", "c", "a|b|c|d", ""], object)
    ranking = np.array([list("abx"), list("xyc"), list("aab"), list("xyz")], object)
    score = scores.get("recall_at_k", k=2)
    assert score.rows(truth, ranking)[:, 1].tolist() == [1.0, 0.0, 0.25, 0.0]
    assert (score.output, score.k) == ("ranking", 2)


def test_top_5_accuracy_looks_at_five_answers_and_at_fewer_when_there_are_no_more():
    ranking = np.array([list("abcdef"), list("fabcde")], object)
    assert value("top_5_accuracy", np.array(["f", "d"], object), ranking) == 0.5
    assert value("top_5_accuracy", np.array(["b", "b"], object), ranking[:, :2]) == 0.5


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_rows_in_any_order_and_any_batches_give_the_same_score(name, seed, n, cuts):
    random = np.random.default_rng(seed)
    truth, predictions = sample(name, random, n)
    order = random.permutation(n)
    score = scores.get(name, k=3)
    batches = [part for part in np.split(order, sorted(min(cut, n) for cut in cuts)) if len(part)]
    parts = [total(score, truth[part], predictions[part]) for part in batches]
    summed = np.sum([np.pad(part, (0, max(map(len, parts)) - len(part))) for part in parts], axis=0)
    assert summed[0] == n
    assert float(score.value(summed)) == pytest.approx(value(name, truth, predictions, k=3), nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_declared_direction_is_that_of_better_predictions(name):
    truth, poor = sample(name, np.random.default_rng(0), 300)
    good = truth
    if name == "average_precision":
        good = np.where(truth == "1", 2.0, -2.0)
    if name in ("top_5_accuracy", "recall_at_k"):
        good = np.array([[*text.split("|"), *CLASSES][: len(CLASSES)] for text in truth], object)
    score = scores.get(name, k=5)
    better, worse = (total(score, truth, predictions) for predictions in (good, poor))
    assert (score.value(better) > score.value(worse)) == (score.better == "higher")
    assert score.loss(better) < score.loss(worse)
    assert score.from_loss(float(score.loss(worse))) == pytest.approx(float(score.value(worse)))


@pytest.mark.parametrize("name", NAMES)
def test_a_score_of_many_sums_at_once_is_that_of_each(name):
    score = scores.get(name, k=3)
    days = [total(score, *sample(name, np.random.default_rng(seed), 40)) for seed in range(6)]
    width = max(map(len, days))
    sums = np.array([np.pad(day, (0, width - len(day))) for day in days])
    together = score.value(sums.reshape(2, 3, width))
    assert together.shape == (2, 3)
    assert together.ravel() == pytest.approx([float(score.value(day)) for day in sums])


@pytest.mark.parametrize("name", [name for name in NAMES if scores.get(name).mean])
def test_the_variance_of_a_mean_is_the_textbooks_and_infinite_for_one_row(name):
    truth, predictions = sample(name, np.random.default_rng(1), 50)
    score = scores.get(name, k=3)
    rows = score.rows(truth, predictions)
    assert scores.variance_of_mean(rows.sum(axis=0)) == pytest.approx(np.var(rows[:, 1], ddof=1) / 50)
    assert scores.variance_of_mean(rows[0]) == np.inf


def test_a_score_of_the_models_own_is_taken_from_its_code():
    clipped = scores.mean_of(lambda truth, predictions: np.minimum(abs(truth - predictions), 1.0), "lower")
    own = SimpleNamespace(clipped=clipped, build=lambda params: None)
    assert value("model.clipped", np.array([0.0, 5.0]), np.array([0.5, 9.0]), own=own) == 0.75
    for name in ("model.nowhere", "model.build"):
        with pytest.raises(ConfigError, match=f"evaluation.score: '{name}' is not there"):
            scores.get(name, own=own)
