import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeline import scores
from pipeline.checks import Profile
from pipeline.data import KEY, Window
from pipeline.evaluation import FEWEST_SLICE_ROWS, Evaluation, Subject, evaluate, score_rows, shown
from tests.parts import WORDS, listings, model, point, tidy

FEATURES = {"title": "string", "weight": "number"}
TOLD = {word: category for category, words in WORDS.items() for word in words.split()}
NOBODY = np.array([], dtype=np.uint64)


def tell(frame, output, k):
    """Answer the category that the title tells: one row in fifteen of ``listings`` belies it."""
    return np.array([TOLD.get(title.split(" ")[0], "?") for title in frame["title"]], dtype=object)


def morning(config, frames, since, window, seen=NOBODY, usual=None, score=None):
    """Score tidy frames and evaluate them against a reference like them."""
    score = score or scores.get(config.evaluation.score)
    scored = score_rows(frames, {"champion": Subject(FEATURES, tell)}, score, config, seen, "champion")
    usual = usual or Profile.of(tidy(config, listings(0, 20, 25))[0], config, days=20)
    return evaluate(scored.tallies["champion"], scored.profiles, usual, config, since, window)


@pytest.fixture
def config(tmp_path):
    return model(tmp_path, evaluation={"score": "accuracy", "minimum_rows": 50})


def test_rows_become_points_of_enough_rows_and_a_score_of_the_window(config):
    frames = tidy(config, listings(100, 7, 25))
    found = morning(config, frames, 100, Window(104, 107))
    assert [(point.day, point.days, point.rows) for point in found.points] == [(101, 2, 50), (103, 2, 50), (105, 2, 50)]
    assert (found.window, found.rows) == ("1970-04-15..1970-04-17", 75)
    rows = frames[0][frames[0]["zeta_day"] >= 104]
    assert found.score == pytest.approx((tell(rows, "", 0) == rows["category"]).mean())
    assert found.low < found.score < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(found.score * (1 - found.score) / 74), rel=1e-3)
    assert {(one.column, one.value) for one in found.slices} == {("channel", "app"), ("channel", "web")}
    assert sum(one.rows for one in found.slices) == 75
    assert (found.faults, found.set_aside) == ([], [])


def test_every_point_has_parts_for_the_slices_with_enough_rows(tmp_path):
    config = model(tmp_path, evaluation={"score": "accuracy", "minimum_rows": 80})
    found = morning(config, tidy(config, listings(100, 6, 80)), 100, Window(100, 106))
    held = {name: [part.rows for part in parts] for name, parts in found.slice_points.items()}
    assert held.keys() == {"channel = app", "channel = web"}
    assert all(rows >= FEWEST_SLICE_ROWS for parts in held.values() for rows in parts)
    days = {part.day for parts in found.slice_points.values() for part in parts}
    assert days == {point.day for point in found.points}
    small = morning(model(tmp_path), tidy(config, listings(100, 6, 25)), 100, Window(100, 106))
    assert len(small.points) == 6
    assert small.slice_points == {}


def test_rows_that_the_champion_was_trained_on_never_count(config):
    [frame] = tidy(config, listings(100, 4, 100))
    seen = np.sort(frame[KEY].to_numpy()[::2])
    found = morning(config, [frame], 100, Window(100, 104), seen)
    assert found.rows == 200
    fresh = frame[~frame[KEY].isin(seen)]
    assert found.score == pytest.approx((tell(fresh, "", 0) == fresh["category"]).mean())
    nothing = morning(config, [frame], 100, Window(100, 104), np.sort(frame[KEY].to_numpy()))
    assert (nothing.rows, nothing.score, nothing.points) == (0, None, [])
    assert nothing.faults == ["volume: 0 rows in 4 days, where 100 are usual"]


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
@pytest.mark.parametrize("batch", [1000, 7])
def test_scoring_morning_by_morning_gives_the_points_of_scoring_at_once(tmp_path, name, batch):
    config = model(tmp_path, evaluation={"score": name, "minimum_rows": 50})
    rows = listings(100, 14, 20)
    rows = rows[~rows["at"].isin(rows["at"].unique()[[3, 4, 9]])]
    rows.loc[rows["at"] == rows["at"].unique()[5], "title"] = None
    points, aside, since = [], [], 100
    for end in range(101, 115):
        today = [part for part in tidy(config, rows) for part in [part[part["zeta_day"].between(since, end - 1)]]]
        found = morning(
            config, [today[0][i : i + batch] for i in range(0, len(today[0]), batch)], since, Window(end - 7, end)
        )
        points += found.points
        aside = found.set_aside
        since = max([since, *(point.day + 1 for point in points)])
    at_once = morning(config, tidy(config, rows), 100, Window(107, 114))
    assert [(one.day, one.days, one.rows) for one in points] == [
        (one.day, one.days, one.rows) for one in at_once.points
    ]
    assert len(points) == 2
    for one, other in zip(points, at_once.points, strict=True):
        assert (one.loss, one.variance) == pytest.approx((other.loss, other.variance), rel=1e-5)
    assert len(aside) <= len(at_once.set_aside)


def test_a_bad_pool_is_set_aside_with_its_days_and_later_good_ones_are_trusted_again(config):
    rows = listings(100, 8, 25)
    rows.loc[rows["at"].isin(rows["at"].unique()[2:4]), "title"] = None
    during = morning(config, tidy(config, rows[:100]), 100, Window(100, 104))
    assert [point.day for point in during.points] == [101]
    assert during.faults == ["nulls: title is null in 100.0% of 50 rows, usually in 0.0%"]
    assert during.set_aside == [f"1970-04-13..1970-04-14: {during.faults[0]}"]
    assert during.rows == 50
    after = morning(config, tidy(config, rows), 100, Window(101, 108))
    assert [point.day for point in after.points] == [101, 105, 107]
    assert after.faults == []
    assert after.set_aside == during.set_aside
    assert after.rows == 125


def test_a_bad_day_stays_out_of_the_score_now_when_newer_points_are_there_already(config):
    rows = listings(100, 6, 50)
    rows.loc[rows["at"] == rows["at"].unique()[2], "title"] = None
    found = morning(config, tidy(config, rows), 104, Window(101, 106))
    assert (found.rows, found.faults) == (200, [])
    assert found.score > 0.8


def test_bad_rows_of_today_are_a_fault_until_a_good_pool_has_come(config):
    rows = listings(100, 5, 25)
    rows.loc[rows["at"].isin(rows["at"].unique()[2:4]), "category"] = "本"
    usual = Profile.of(tidy(config, listings(0, 20, 25))[0], config, days=20)
    found = morning(config, tidy(config, rows), 100, Window(100, 105), usual=usual)
    assert [fault.split(" is on")[0] for fault in found.faults] == ["label_share: '本'"]
    assert [point.day for point in found.points] == [101]


def test_days_that_stay_away_are_a_fault_that_names_them(config):
    found = morning(config, tidy(config, listings(100, 4, 25)), 100, Window(100, 110))
    assert found.faults == ["volume: 0 rows in 6 days, where 150 are usual"]
    assert found.set_aside == ["1970-04-15..1970-04-20: volume: 0 rows in 6 days, where 150 are usual"]
    assert [point.day for point in found.points] == [101, 103]
    few = morning(config, tidy(config, listings(100, 1, 3)), 100, Window(100, 110))
    assert few.set_aside == ["1970-04-11..1970-04-20: volume: 3 rows in 10 days, where 250 are usual"]
    assert (few.rows, few.score) == (0, None)


def test_rows_without_a_label_are_counted_but_not_scored(config):
    rows = listings(100, 2, 100)
    rows.loc[:3, "category"] = None
    found = morning(config, tidy(config, rows), 100, Window(100, 102))
    assert (found.rows, found.faults) == (196, [])
    rows.loc[100:150, "category"] = None
    assert (
        morning(config, tidy(config, rows), 100, Window(100, 102))
        .faults[0]
        .startswith("nulls: category is null in 51.0%")
    )


def test_what_the_score_does_not_define_is_no_point_and_no_number(tmp_path):
    config = model(tmp_path, evaluation={"score": "average_precision", "minimum_rows": 50})
    rows = listings(100, 4, 50)
    rows["category"] = ["1" if i % 7 == 0 and i < 100 else "0" for i in range(200)]
    usual = Profile.of(tidy(config, rows)[0], config, days=4)

    def by_weight(frame, output, k):
        assert output == "scores"
        return frame["weight"].to_numpy()

    scored = score_rows(
        tidy(config, rows), {"": Subject(FEATURES, by_weight)}, scores.get("average_precision"), config, NOBODY, ""
    )
    found = evaluate(scored.tallies[""], scored.profiles, usual, config, 100, Window(102, 104))
    assert [point.day for point in found.points] == [100, 101]
    assert found.set_aside == [
        f"1970-04-{day}..1970-04-{day}: the score and its error are not defined on 50 rows" for day in (13, 14)
    ]
    assert (found.rows, found.score, found.low, found.high, found.slices) == (100, None, None, None, [])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_one_row_has_no_error_and_is_no_point(tmp_path):
    config = model(tmp_path, evaluation={"score": "accuracy", "minimum_rows": 1}, data={"checks": {"label_share": 1.0}})
    found = morning(config, tidy(config, listings(100, 1, 1)), 100, Window(100, 101))
    assert found.points == []
    assert (found.rows, found.low, found.high) == (1, None, None)
    assert found.score in (0.0, 1.0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_an_evaluation_is_remembered_as_it_was(config):
    found = morning(config, tidy(config, listings(100, 7, 25)), 100, Window(104, 107))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_every_subject_sees_its_own_features_of_the_same_rows(config):
    seen = {}

    def remember(name):
        def predict(frame, output, k):
            seen[name] = (list(frame), list(frame.index), output, k)
            return np.array([list("abcde")] * len(frame), object)

        return predict

    score = scores.get("top_5_accuracy")
    subjects = {"old": Subject({"weight": "number"}, remember("old")), "new": Subject(FEATURES, remember("new"))}
    scored = score_rows(tidy(config, listings(100, 1, 60)), subjects, score, config, NOBODY)
    assert seen["old"] == (["weight"], seen["new"][1], "ranking", 5)
    assert seen["new"][0] == ["title", "weight"]
    assert scored.tallies["old"].matrix([100])[0][0] == scored.tallies["new"].matrix([100])[0][0] == 60


def test_a_day_that_comes_in_two_batches_is_one_day(config):
    [frame] = tidy(config, listings(100, 2, 60))
    whole = score_rows([frame], {"": Subject(FEATURES, tell)}, scores.get("accuracy"), config, NOBODY)
    parts = score_rows([frame[:70], frame[70:]], {"": Subject(FEATURES, tell)}, scores.get("accuracy"), config, NOBODY)
    assert {day: (one.days, one.rows, one.labels) for day, one in parts.profiles.items()} == {
        day: (one.days, one.rows, one.labels) for day, one in whole.profiles.items()
    }
    assert parts.tallies[""].matrix([100, 101]).tolist() == whole.tallies[""].matrix([100, 101]).tolist()


def test_rows_without_a_value_are_a_slice_of_their_own(config):
    rows = listings(100, 2, 60)
    rows.loc[:9, "channel"] = None
    found = morning(config, tidy(config, rows), 100, Window(100, 102))
    assert {one.value: one.rows for one in found.slices}["(none)"] == 10


def test_a_window_without_any_rows_has_no_score(config):
    found = morning(config, [], 100, Window(100, 101))
    assert (found.rows, found.score, found.points, found.slices) == (0, None, [], [])
    assert found.faults == []
    assert morning(config, [pd.concat(tidy(config, listings(100, 1, 5)))[:0]], 100, Window(100, 101)).rows == 0


@pytest.mark.parametrize(("name", "score", "low", "high", "reference"), [("accuracy", 0.8, 0.702, 0.898, 0.9),
                                                                       ("mae", 0.2, 0.102, 0.298, 0.1)])  # fmt: skip
def test_a_point_is_shown_in_units_of_the_score(name, score, low, high, reference):
    assert shown(scores.get(name), point(100, 0.2, variance=0.0025), 0.1) == pytest.approx(
        {"score": score, "score_low": low, "score_high": high, "reference": reference}, abs=1e-3
    )


def test_under_a_binary_score_the_rows_are_paired_with_each_rival(config):
    [frame] = tidy(config, listings(100, 3, 50))

    def wrong_on_app(frame, output, k):
        return np.where(frame["channel"] == "app", "?", tell(frame, output, k))

    subjects = {
        "champion": Subject(FEATURES | {"channel": "string"}, wrong_on_app),
        "baseline": Subject(FEATURES, tell),
        "challenger": Subject(FEATURES, tell),
    }
    score = scores.get("accuracy")
    scored = score_rows([frame[:70], frame[70:]], subjects, score, config, NOBODY, "challenger")
    gained = (tell(frame, "", 0) == frame["category"]) & (frame["channel"] == "app")
    days = [gained[frame["zeta_day"] == day].sum() for day in (100, 101, 102)]
    assert scored.pairs["champion"].matrix([100, 101, 102]).tolist() == [[count, 0] for count in days]
    assert scored.pairs["baseline"].matrix([100, 101, 102]).sum() == 0
    assert score_rows([frame], subjects, scores.get("micro_f1"), config, NOBODY, "challenger").pairs == {}
