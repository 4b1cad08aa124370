import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checks import Profile, bad_days, content_faults, faults, pool, pools, volume_faults
from pipeline.config import Checks
from tests.parts import listings, model, tidy

CHECKS = Checks(nulls=0.05, volume=0.3, label_share=0.5)
USUAL = Profile(10, 1000, {"title": 20, "category": 0}, {"a": 500, "b": 400, "c": 100})


def partition(rows=100, days=1, **changes):
    """Return a profile with the usual shares, but for the changes."""
    nulls = {"title": rows * 20 // 1000, "category": 0} | changes.get("nulls", {})
    labels = {"a": rows // 2, "b": rows * 4 // 10, "c": rows // 10} | changes.get("labels", {})
    return Profile(days, rows, nulls, labels)


def test_usual_data_have_no_fault():
    assert faults(USUAL, USUAL, CHECKS) == []
    assert faults(partition(), USUAL, CHECKS) == []


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (partition(1000, nulls={"title": 71}, days=10), "nulls: title is null in 7.1% of 1000 rows, usually in 2.0%"),
        (partition(nulls={"category": 100}), "nulls: category is null in 100.0% of 100 rows, usually in 0.0%"),
        (partition(1000, labels={"c": 601}, days=10), "label_share: 'c' is on 60.1% of 1000 rows, usually on 10.0%"),
        (partition(labels={"new": 51}), "label_share: 'new' is on 51.0% of 100 rows, usually on 0.0%"),
        (partition(rows=20, labels={}), "volume: 20 rows in 1 days, where 100 are usual"),
        (partition(rows=89, days=3), "volume: 89 rows in 3 days, where 300 are usual"),
        (Profile(2, 0, {}, {}), "volume: 0 rows in 2 days, where 200 are usual"),
    ],
)
def test_each_fault_is_said_by_its_name_with_its_numbers(profile, words):
    assert faults(profile, USUAL, CHECKS) == [words]


@pytest.mark.parametrize(
    "profile",
    [
        partition(nulls={"title": 7}),
        partition(labels={"c": 60}),
        partition(labels={"a": 0, "b": 0, "c": 0}),
        partition(rows=30),
        partition(rows=1000),
    ],
)
def test_what_is_just_within_a_check_is_no_fault(profile):
    assert faults(profile, USUAL, CHECKS) == []


def test_several_faults_are_all_said():
    broken = Profile(1, 10, {"title": 10, "category": 5}, {"c": 10})
    assert [fault.split(":")[0] for fault in faults(broken, USUAL, CHECKS)] == [
        "nulls",
        "nulls",
        "label_share",
        "volume",
    ]


def test_volume_is_silent_where_few_rows_are_usual():
    rare = Profile(100, 400, {}, {})
    assert volume_faults(Profile(3, 0, {}, {}), rare, CHECKS) == []
    assert volume_faults(Profile(20, 0, {}, {}), rare, CHECKS) == ["volume: 0 rows in 20 days, where 80 are usual"]
    assert content_faults(Profile(1, 0, {}, {}), rare, CHECKS) == []


def test_a_profile_counts_nulls_empty_texts_and_labels(tmp_path):
    config = model(tmp_path)
    rows = listings(100, 1, 6)
    rows["title"] = ["", None, "本", "本", "本", "本"]
    rows["weight"] = [None, 0.0, 1, 2, 3, float("nan")]
    rows["category"] = ["本", "本", None, "家電", "", float("nan")]
    [frame] = tidy(config, rows)
    found = Profile.of(frame, config)
    assert (found.days, found.rows) == (1, 6)
    assert found.nulls == {"title": 2, "weight": 2, "category": 2}
    assert found.labels == {"本": 2, "家電": 1, "": 1}


def test_a_multilabel_profile_counts_each_label_and_a_regressions_none(tmp_path):
    rows = listings(100, 1, 3)
    rows["category"] = ["a|b", "b", ""]
    several = model(tmp_path, task="multilabel", evaluation={"score": "micro_f1"})
    assert Profile.of(tidy(several, rows)[0], several).labels == {"a": 1, "b": 2, "": 1}
    rows["category"] = [1, None, "much"]
    number = model(tmp_path, task="regression", evaluation={"score": "mae"}, gate={"baseline": "median"})
    found = Profile.of(tidy(number, rows)[0], number)
    assert (found.labels, found.nulls["category"]) == ({}, 2)


def test_profiles_by_day_add_up_to_the_profile_of_all(tmp_path):
    config = model(tmp_path)
    [frame] = tidy(config, listings(100, 4, 25))
    by_day = Profile.by_day(frame, config)
    assert sorted(by_day) == [100, 101, 102, 103]
    whole = pool(by_day, list(by_day), 4)
    expected = Profile.of(frame, config, days=4)
    assert (whole.days, whole.rows, whole.labels) == (4, 100, expected.labels)
    assert whole.nulls == {column: count for column, count in expected.nulls.items() if count}


def days_of(rows):
    return {100 + i: Profile(1, n, {}, {}) for i, n in enumerate(rows) if n}


def test_days_are_pooled_until_they_hold_enough_rows():
    profiles = days_of([30, 0, 30, 60, 0, 70, 10, 0])
    assert list(pools(profiles, 100, 108, 50)) == [
        ([100, 102], 3, True),
        ([103], 1, True),
        ([105], 2, True),
        ([106], 2, False),
    ]


def test_days_without_any_row_are_an_incomplete_pool():
    assert list(pools({}, 100, 103, 50)) == [([], 3, False)]
    assert list(pools(days_of([60]), 100, 103, 50)) == [([100], 1, True), ([], 2, False)]
    assert list(pools({}, 103, 103, 50)) == []


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.integers(0, 40), max_size=20), enough=st.integers(1, 60))
def test_pools_share_out_every_day_once_and_in_order(rows, enough):
    profiles = days_of(rows)
    found = list(pools(profiles, 100, 100 + len(rows), enough))
    assert [day for days, _, _ in found for day in days] == sorted(profiles)
    assert sum(span for _, span, _ in found) == len(rows)
    for days, _, complete in found:
        assert (sum(profiles[day].rows for day in days) >= enough) is complete
        assert sum(profiles[day].rows for day in days[:-1]) < enough
    assert all(complete for _, _, complete in found[:-1])


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.integers(0, 40), min_size=2, max_size=20), cut=st.integers(1, 19), enough=st.integers(1, 60))
def test_pools_that_are_complete_today_are_the_same_tomorrow(rows, cut, enough):
    profiles = days_of(rows)
    today = [one for one in pools(profiles, 100, 100 + min(cut, len(rows)), enough) if one[2]]
    assert list(pools(profiles, 100, 100 + len(rows), enough))[: len(today)] == today


def test_the_days_of_a_pool_with_bad_content_are_bad_and_its_neighbours_are_not(tmp_path):
    config = model(tmp_path, evaluation={"score": "accuracy", "minimum_rows": 50})
    usual = Profile.of(pd.concat(tidy(config, listings(90, 10, 25))), config, days=10)
    rows = listings(100, 8, 25)
    bad = [100 + i // 25 == 103 for i in range(len(rows))]
    rows.loc[bad, "title"] = None
    profiles = Profile.by_day(tidy(config, rows)[0], config)
    assert bad_days(profiles, usual, config) == {102, 103}
    assert bad_days({day: profiles[day] for day in (104, 105, 106)}, usual, config) == set()
    assert bad_days({}, usual, config) == set()


def test_neither_few_rows_on_a_day_nor_too_few_rows_to_tell_are_bad_content(tmp_path):
    config = model(tmp_path)
    usual = Profile.of(tidy(config, listings(90, 10, 100))[0], config, days=10)
    assert bad_days({100: Profile(1, 20, {}, {}), 101: Profile(1, 19, {"title": 19}, {})}, usual, config) == set()
