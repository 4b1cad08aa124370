"""The outlook on simulated champions of which everything is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom

from pipeline import outlook
from pipeline.errors import DataError
from pipeline.observation import GROUPS
from pipeline.outlook import BINS, EXPECTED, INPUTS, PREDICTIONS
from pipeline.tally import Point
from tests import parts

WORDS = ["文庫本", "漫画", "冷蔵庫", "洗濯機", "万年筆", "an old chair", ""]


def rows(random, n, easy=1.0, words=None, labelled=True):
    """Return n rows: how sure the model is, whether it is right (as often as it should be), and what it saw."""
    confidence = random.gamma(2.0, easy, n)
    right = (random.random(n) < expit(confidence)).astype(float)
    return {
        "predictions": np.where(random.random(n) < 0.5, "a", random.choice(["b", "c"], n)).astype(object),
        "features": {
            "title": random.choice(WORDS, n, p=words).tolist(),
            "weight": random.lognormal(size=n).tolist(),
        },
        "confidence": confidence,
        "right": right if labelled else np.full(n, np.nan),
    }


def sums(*parts_of_rows, days=None):
    counts = {}
    for index, one in enumerate(parts_of_rows):
        n = len(one["right"])
        outlook.add(counts, np.zeros(n, int) if days is None else days[index], **one)
    return outlook.total(counts, counts)


def part(one, chosen):
    features = {name: [values[index] for index in chosen] for name, values in one["features"].items()}
    return {name: values[chosen] for name, values in one.items() if name != "features"} | {"features": features}


@pytest.mark.parametrize("easy", [1.0, 0.6, 0.3])
def test_what_a_calibrated_model_is_expected_to_score_it_scores(easy):
    random = np.random.default_rng(1)
    right = outlook.calibrated(sums(rows(random, 20_000))[EXPECTED])
    fresh = rows(random, 20_000, easy, labelled=False)
    loss, variance = outlook.expected(sums(fresh)[EXPECTED], right)
    # Binning, the calibration's error, and that of the 20,000 rows themselves.
    assert loss == pytest.approx(1 - expit(fresh["confidence"]).mean(), abs=0.012)
    assert variance == pytest.approx(np.var(expit(fresh["confidence"])) / 20_000, rel=0.3)


def test_the_expected_score_of_the_rows_that_it_is_learnt_from_is_their_score():
    gate = rows(np.random.default_rng(2), 3_000)
    found = sums(gate)[EXPECTED]
    assert outlook.expected(found, outlook.calibrated(found))[0] == pytest.approx(1 - gate["right"].mean())


def test_more_confidence_never_promises_less():
    right = outlook.calibrated(sums(rows(np.random.default_rng(3), 500))[EXPECTED])
    assert right.shape == (BINS,)
    assert (np.diff(right) >= 0).all()
    assert 0 <= right[0] < right[-1] <= 1


def test_rows_without_a_label_teach_nothing_but_count():
    random = np.random.default_rng(4)
    known, unknown = rows(random, 400), rows(random, 400, labelled=False)
    both = sums(known, unknown)[EXPECTED]
    np.testing.assert_array_equal(outlook.calibrated(both), outlook.calibrated(sums(known)[EXPECTED]))
    assert both[:BINS].sum() == 800
    with pytest.raises(DataError, match="no labelled row"):
        outlook.calibrated(sums(unknown)[EXPECTED])


def test_a_model_without_a_confidence_has_no_expected_score():
    random = np.random.default_rng(5)
    for none in (None, np.full(50, np.nan)):
        found = sums(rows(random, 50) | {"confidence": none})
        assert outlook.reference(found).series == [PREDICTIONS, "inputs_title", "inputs_weight"]
        assert outlook.reference(found).points(found, 3, 1).keys() == {PREDICTIONS, "inputs_title", "inputs_weight"}


@pytest.mark.parametrize("n", [60, 500, 3000])
def test_rows_of_the_same_kind_are_no_distance_apart_however_many_they_are(n):
    random = np.random.default_rng(n)
    old = sums(rows(random, 5_000))
    found = [
        outlook.apart(sums(rows(random, n))[name], old[name]) for _ in range(60) for name in old if name != EXPECTED
    ]
    distances, variances = np.array(found).reshape(60, 3, 2).transpose(2, 1, 0)
    assert np.abs(distances.mean(axis=1)).max() < 0.02
    assert (distances.std(axis=1) < np.sqrt(variances.mean(axis=1))).all()


@pytest.mark.parametrize(
    ("changed", "name", "least"),
    [
        ({"predictions": np.full(800, "b", object)}, PREDICTIONS, 0.6),
        ({"predictions": np.full(800, "new|b", object)}, PREDICTIONS, 0.6),
        ({"features": {"title": [""] * 800, "weight": [1.0] * 800}}, "inputs_title", 0.5),
        ({"features": {"title": ["文庫本"] * 800, "weight": [float("nan")] * 800}}, "inputs_weight", 0.8),
        ({"features": {"title": ["文庫本"] * 800, "weight": [float("inf")] * 800}}, "inputs_weight", 0.8),
        ({"features": {"title": ["文庫本"] * 800, "weight": [1e6] * 800}}, "inputs_weight", 0.8),
    ],
)
def test_another_kind_of_rows_is_far_apart(changed, name, least):
    random = np.random.default_rng(6)
    old, new = sums(rows(random, 5_000)), sums(rows(random, 800) | changed)
    distance, _ = outlook.apart(new[name], old[name])
    assert distance > least
    assert outlook.apart(old[name], new[name])[0] == pytest.approx(distance)


def test_there_is_no_distance_to_no_rows():
    found = sums(rows(np.random.default_rng(7), 50))
    rest = outlook.reference(found).without(found)
    assert outlook.apart(found[PREDICTIONS], np.array(rest.sums[PREDICTIONS])) == (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_neither_the_order_of_rows_nor_the_ends_of_batches_matter(seed, n, cuts):
    random = np.random.default_rng(seed)
    whole, days = rows(random, n), random.choice([7, 8, 9], n)
    batches = [one for one in np.split(random.permutation(n), sorted(min(cut, n) for cut in cuts)) if len(one)]
    once, merged = {}, {}
    outlook.add(once, days, **whole)
    for chosen in batches:
        outlook.add(merged, days[chosen], **part(whole, chosen))
    assert once.keys() == merged.keys() == set(days.tolist())
    for day, held in once.items():
        for name, values in held.items():
            np.testing.assert_allclose(merged[day][name], values, atol=1e-9)
    total = outlook.total(once, once)
    assert total[EXPECTED][:BINS].sum() == n
    assert total[PREDICTIONS][:GROUPS].sum() == pytest.approx(n)


def config(tmp_path, **changes):
    return parts.model(tmp_path, **{"data": {"matures_after": "14d"}, "degradation": {"smallest_drop": 0.05}} | changes)


def lived(random, days, n, turn=None, **shifted):
    """Return the reference of 28 gate days, and the history of each series: rows change from the day ``turn`` on."""
    counts = {}
    for day in range(days):
        kind = shifted if turn is not None and day >= turn else {}
        outlook.add(counts, np.full(n, day), **rows(random, n, labelled=day < 28, **kind))
    known = outlook.reference(outlook.total(counts, range(28)))
    made = [(known.without(counts[day]) if day < 28 else known).points(counts[day], day, 1) for day in range(days)]
    series = {name: [one[name] for one in made] for name in known.series}
    inputs = [series.pop(name) for name in list(series) if name.startswith(INPUTS)]
    return series | {INPUTS: outlook.largest(inputs)}


def test_unchanged_rows_are_warned_of_no_more_often_than_configured(tmp_path):
    often, quarters = 2.0, 10
    settings = config(tmp_path, degradation={"smallest_drop": 0.05, "false_alarms_per_year": often})
    random, warned = np.random.default_rng(8), 0
    for _ in range(quarters):
        series = lived(random, 28 + 91, 100)
        # Each week of a quarter; the days that count are the newest fourteen.
        mornings = [
            outlook.views({name: points[:end] for name, points in series.items()}, 28, max(end - 14, 28), settings)
            for end in range(35, 120, 7)
        ]
        warned += any(view.evidence > 1 for views in mornings for view in views.values())
    assert warned <= binom.ppf(0.99, quarters, 1 - np.exp(-often / 4))


@pytest.mark.parametrize(
    ("shifted", "names"),
    [
        ({"easy": 0.3}, {EXPECTED}),
        ({"words": [0, 0, 0, 0, 0, 1, 0]}, {INPUTS}),
    ],
)
def test_a_shift_is_found_and_when_it_began_and_is_over_when_its_days_have_labels(tmp_path, shifted, names):
    settings, random = config(tmp_path), np.random.default_rng(9)
    series = lived(random, 50, 300, 40, **shifted)
    views = outlook.views(series, 28, 36, settings)
    warned = {name for name, view in views.items() if view.evidence > 1}
    assert warned == names
    for name in names:
        assert 40 <= views[name].alarming[0].day <= 42
        assert [point.day for point in views[name].points] == list(range(36, 50))
    assert outlook.views(series, 28, 50, settings) == {}
    calm = lived(random, 60, 300)
    later = {name: [*points[:50], *calm[name][50:]] for name, points in series.items()}
    assert all(view.evidence <= 1 for view in outlook.views(later, 28, 50, settings).values())


def test_all_series_together_have_the_configured_false_alarms(tmp_path, monkeypatch):
    rules = []
    monkeypatch.setattr(outlook.detectors, "state", lambda usual, new, rule, others: rules.append(rule))
    points = [parts.point(day, 0.1) for day in range(40)]
    outlook.views({EXPECTED: points, PREDICTIONS: points, INPUTS: points}, 28, 30, config(tmp_path))
    assert [rule.smallest_drop for rule in rules] == [0.05, 0.1, 0.1]
    assert sum(rule.false_alarms_per_year for rule in rules) == pytest.approx(0.05)


def test_the_largest_of_the_features_counts():
    first, second = [Point(3, 1, 9, 0.1, 0), Point(4, 1, 9, 0.4, 0)], [Point(3, 1, 9, 0.2, 0), Point(4, 1, 9, 0.3, 0)]
    assert outlook.largest([first, second]) == [second[0], first[1]]


def test_how_far_the_expectation_is_to_be_trusted_is_told_by_the_labels_that_came():
    promised = [Point(day, 1, 100, 0.1, 0) for day in range(6)] + [Point(6, 2, 100, 0.1, 0)]
    came = [Point(day, 1, 100 + 200 * (day == 4), 0.1 + day / 100, 0) for day in range(5)] + [Point(6, 1, 100, 0.9, 0)]
    assert outlook.trust(promised, came, 3) == (pytest.approx((0.03 * 100 + 0.04 * 300) / 400), 2)
    assert outlook.trust(promised, came, 5) is None
