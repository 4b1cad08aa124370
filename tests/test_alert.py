import re
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.alert import Outcome, build, over
from pipeline.slices import Slice
from pipeline.trouble import Kind, Trouble

AT = datetime(2026, 3, 3, 5, tzinfo=ZoneInfo("Asia/Tokyo"))
BARE = Outcome("sites", AT)
FULL = Outcome(
    model="sites",
    at=AT,
    owner="listing-ml",
    version="3",
    challenger="4",
    reasons=("not shown to be better than the champion",),
    score_name="micro_f1",
    score=0.4141,
    interval=(0.401, 0.427),
    reference=0.585,
    challenger_score=0.42,
    difference=0.006,
    lower_bound=-0.012,
    slices=(
        Slice("site", "netflix", 0.5, 0.6, 1230),
        Slice("site", "ニコニコ", 0.512, 0.471, 230, outside=True),
        Slice("site", "b", 0.5, 0.51, 40),
        Slice("site", "best", 0.1, 0.9, 40),
    ),
    step="train",
    error="sites: no rows in 2026-02-01..2026-02-28",
    links=(("Airflow run", "http://127.0.0.1:8080/runs/1"), ("MLflow run", "http://127.0.0.1:5500/#/runs/1")),
)
BUILT = [kind for kind in Kind if kind not in (Kind.OVER, Kind.DIGEST)]


def test_a_whole_alert_reads_from_the_effect_on_production_down_to_the_evidence():
    alert = build(Kind.GATE_REJECTED, replace(FULL, step=None, error=None))
    assert alert.title == "sites: the challenger did not pass the gate"
    assert (
        alert.text
        == """\
The gate did not pass the challenger (version 4). Production was not touched. Version 3 goes on serving.

Next: open the report to see where the challenger loses, change models/sites and try it with `zeta check sites`; \
the next run trains again.

Why:
- not shown to be better than the champion

Champion now: micro_f1 0.414 (95 % interval 0.401 to 0.427).
At deployment: 0.585.
Challenger: 0.420.
Gain on the same rows: +0.006 (lower bound -0.012; it must be above 0).

Worst slices:
- site = ニコニコ: champion 0.512, challenger 0.471, 230 rows, outside the margin
- site = b: champion 0.500, challenger 0.510, 40 rows
- site = netflix: champion 0.500, challenger 0.600, 1,230 rows
- ... and 1 more

Model: sites. Owner: listing-ml. Run of 2026-03-03 05:00 JST.
Airflow run: http://127.0.0.1:8080/runs/1
MLflow run: http://127.0.0.1:5500/#/runs/1"""
    )


@pytest.mark.parametrize("kind", BUILT)
def test_each_kind_says_what_happened_and_what_to_do_with_a_command_of_this_model(kind):
    alert = build(kind, FULL)
    assert alert.title.startswith("sites: ")
    assert (alert.kind, alert.links) == (kind, FULL.links)
    next_ = next(part for part in alert.body.split("\n\n") if part.startswith("Next: "))
    assert "sites`" in next_ or "`zeta run sites --at 2026-03-03T05:00:00+09:00`" in next_
    assert "ersion 3" in alert.body


@pytest.mark.parametrize("kind", BUILT)
def test_what_is_not_known_is_left_out_and_never_invented(kind):
    text = build(kind, BARE).text
    assert "None" not in text
    assert "{" not in text
    assert not re.search(r"ersion \d|Owner|Champion now|Challenger:|Gain|Why|slices:|http|deployment:", text)


def test_an_early_warning_says_when_labels_come_and_that_nothing_was_done():
    alert = build(Kind.WARNING, replace(BARE, version="3", labels_in=timedelta(days=7), reasons=("title is far",)))
    assert "Labels come in 7 days. Nothing was done. Version 3 goes on serving." in alert.body
    assert "- title is far" in alert.body


def test_titles_tell_the_kinds_apart():
    assert len({build(kind, BARE).title for kind in BUILT}) == len(BUILT)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"score": 0.4, "interval": None}, "Champion now: score 0.400."),
        ({"difference": 0.5}, "Gain on the same rows: +0.500."),
        ({"difference": float("nan"), "lower_bound": 0.1}, None),
        ({"lower_bound": 0.1}, None),
        ({"interval": (0.1, 0.2)}, None),
    ],
)
def test_a_number_stands_with_what_is_known_of_it(known, said):
    body = build(Kind.GATE_REJECTED, replace(BARE, **known)).body
    assert said in body if said else "0.1" not in body


def test_a_failure_names_its_step_and_keeps_both_ends_of_a_long_error():
    error = "japanese: cannot start\n" + "noise\n" * 2000 + "OSError: no space left on device"
    alert = build(Kind.FAILED, replace(BARE, step="build-image", error=error))
    assert alert.title == "sites: step build-image failed"
    assert "japanese: cannot start" in alert.body
    assert "no space left on device" in alert.body
    assert len(alert.body) < 1500


def test_values_from_the_data_stay_on_one_short_line():
    slices = (Slice("site", "a\n- forged line " + "x" * 500, 0.5, None, 9),)
    body = build(Kind.INSUFFICIENT, replace(BARE, slices=slices, reasons=("b\nforged {reason}",))).body
    line = next(line for line in body.splitlines() if line.startswith("- site"))
    assert line.startswith("- site = a - forged line xxx")
    assert len(line) < 100
    assert "- b forged {reason}" in body.splitlines()


@pytest.mark.parametrize(
    ("ago", "lasted"),
    [
        (timedelta(days=2, hours=3), "2 days"),
        (timedelta(days=1), "1 day"),
        (timedelta(hours=5), "5 hours"),
        (timedelta(minutes=5), "less than an hour"),
    ],
)
def test_the_end_names_the_trouble_and_how_long_it_lasted(ago, lasted):
    alert = over(Trouble(Kind.DATA_BAD, AT - ago), replace(FULL, reasons=(), step=None, error=None))
    assert alert.kind is Kind.OVER
    assert alert.title == f"sites: over after {lasted}: the data is bad"
    assert f"since {(AT - ago):%Y-%m-%d %H:%M} JST" in alert.body
    assert "Version 3 serves." in alert.body
