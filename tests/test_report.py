import math
import warnings
from dataclasses import replace
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from pipeline.charts import ScoredDay
from pipeline.comparison import Difference, Pairs
from pipeline.data import Window
from pipeline.ledger import Look
from pipeline.report import Alarm, Report, render
from pipeline.slices import Slice
from pipeline.verdict import Gate

FIRST_DAY = date(2026, 1, 1)
REPORT = Report(
    model="sites",
    owner="listing-ml",
    at=datetime(2026, 3, 3, 5, tzinfo=ZoneInfo("Asia/Tokyo")),
    run="0f3c2b9a",
    outcome=Gate.PROMOTE,
    reasons=("better than the champion by 0.039",),
    score_name="micro_f1",
    better="higher",
    challenger="5",
    challenger_score=0.753,
    training=Window(20000, 20400),
    training_rows=81234,
    gate=Window(20486, 20514),
    gate_rows=4210,
    fingerprint="9f86d081",
    data_hash="60303ae2",
    look=Look(2, 0.0076),
    alpha=0.05,
    baseline="most_frequent",
    baseline_score=0.212,
    baseline_gain=Difference(0.541, 0.522, 0.56, 28, 4210),
    baseline_margin=0.01,
    slice_margin=0.02,
    champion="4",
    champion_score=0.714,
    gain=Difference(0.039, 0.021, 0.057, 28, 4210),
    pairs=Pairs(310, 148),
    history=tuple(
        ScoredDay(FIRST_DAY + timedelta(day), 0.7, 0.68, 0.72, 0.735, "3" if day < 10 else "4") for day in range(20)
    ),
    alarm=Alarm(FIRST_DAY + timedelta(8), 1.3),
    slices=(Slice("site", "ニコニコ動画", 0.5, 0.7, 300), Slice("site", "netflix", 0.6, 0.55, 1200, outside=True)),
    seeds={0: 0.751, 1: 0.753, 2: 0.758},
    kept_seed=1,
    timings={"train": 41.7},
    commit="d3b07384",
    links=(("MLflow run", "http://127.0.0.1:5500/#/runs/1"),),
)
BOOTSTRAP = replace(REPORT, champion=None, champion_score=None, gain=None, history=(), alarm=None, slices=())


class Page(HTMLParser):
    """What a browser would make of a page: the tags with their attributes, and the words."""

    def __init__(self, html):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(html)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += f" {data} "

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html():
    return render(REPORT)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(autouse=True)
def no_warning_from_matplotlib():
    """A glyph that it lacks, or an odd axis, would be one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_verdict_and_its_reason_come_before_everything_else(page):
    words = page.words
    body = words[words.index("sites · listing-ml · 2026-03-03 05:00 JST") :]
    order = ["Promote", "Version 5 beats version 4", "better than the champion by 0.039", "0.753", "+0.039",
             "at least +0.021", "Challenger against champion", "Score over time", "Slices", "Seeds",
             "Where it comes from"]  # fmt: skip
    assert [body.index(text) for text in order] == sorted(body.index(text) for text in order)


@pytest.mark.parametrize(
    "text",
    [
        "Alarm on 2026-01-09: the evidence stood at 1.3, where 1 is an alarm.",
        "its lower bound (99.24 %) must be above 0.",
        "Right alone on 310 rows, wrong alone on 148: mid-p 1.1e-14, at most 0.0076 is needed.",
        "Look number 2 at rows of this window against this champion: it may err by 0.76 %, all of them by 5 %",
        "A slice may lose 0.020 at most; more refuses the challenger unless it can be chance, of which all slices",
        "most_frequent",
        "2026-02-02..2026-03-01, 4,210 rows",
        "81,234 rows",
        "9f86d081",
        "60303ae2",
        "d3b07384",
        "0f3c2b9a",
        "train 41.7 s",
        "1 0.753 kept",
        "netflix 1,200 rows ✕ outside the margin 0.600 0.550 −0.050",
    ],
)
def test_what_a_reviewer_asks_for_is_on_the_page(page, text):
    assert text in page.words


def test_like_reports_make_like_pages(html):
    assert render(replace(REPORT)) == html


def test_the_page_needs_no_other_file_and_runs_no_script(page):
    assert not {"script", "link", "img", "image", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert {link["href"] for link in page.all("a")} == {"http://127.0.0.1:5500/#/runs/1"}
    assert all(use["xlink:href"].startswith("#") for use in page.all("use"))


def test_every_chart_has_words_for_those_who_cannot_see_it_and_every_table_a_caption(page):
    charts = [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(charts) == 6
    assert charts[0] == "Gain of the challenger +0.039, lower bound +0.021"
    assert "from 2026-01-01 (0.700) to 2026-01-20 (0.700); at deployment 0.735" in charts[2]
    assert charts[4] == "Champion and challenger on 2 slices; 1 outside the margin"
    assert all(svg.get("aria-hidden") for svg in page.all("svg") if svg.get("role") != "img")
    assert len(page.all("table")) == len(page.all("caption")) == 2
    assert {header["scope"] for header in page.all("th")} == {"col", "row"}


def test_no_two_elements_of_the_page_share_an_id(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_charts_take_their_colours_and_their_font_from_the_page(html):
    drawn = html[html.index("<main>") :]
    assert "var(--champion)" in drawn
    assert "DejaVu" not in drawn
    assert "#0" not in drawn.replace('href="#', "").replace("url(#", "")


def test_the_first_challenger_is_shown_against_the_baseline_and_what_is_missing_is_said():
    words = Page(render(BOOTSTRAP)).words
    for text in (
        "Version 5 is fit to be the first champion",
        "There is no champion yet, so the simple baseline stands in.",
        "must be above 0.010.",
        "+0.541",
        "No champion has been evaluated yet.",
        "Slices are compared once there is a champion.",
    ):
        assert text in words
    assert "None" not in words


@pytest.mark.parametrize(
    "change",
    [
        {"gain": Difference(math.nan, -math.inf, math.inf, 1, 40), "outcome": Gate.INSUFFICIENT},
        {"gain": None, "outcome": Gate.REJECT},
    ],
)
def test_a_comparison_that_was_not_possible_is_said_and_not_drawn(change):
    page = Page(render(replace(REPORT, **change)))
    assert "The two could not be compared" in page.words
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 4
    assert "nan" not in page.words
    assert "inf" not in page.words


@pytest.mark.parametrize("outcome", list(Gate))
@pytest.mark.parametrize("report", [REPORT, BOOTSTRAP], ids=["champion", "first"])
def test_every_verdict_has_a_headline(report, outcome):
    words = Page(render(replace(report, outcome=outcome))).words
    assert "version 5" in words.lower()
    assert ("version 4" in words) == (report.champion is not None)


@pytest.mark.parametrize(
    "change",
    [
        {"history": REPORT.history[:1], "alarm": None},
        {"history": (replace(REPORT.history[0], reference=None),)},
        {"slices": (Slice("site", "", math.nan, None, 0), Slice("site", "b", None, 0.5, 1))},
        {"slices": (Slice("site", "a", 0.5, None, 10),)},
        {"gain": Difference(0.0, 0.0, 0.0, 2, 10)},
        {"better": "lower", "score_name": "mae", "champion_score": 12345.6},
        {"seeds": {}, "timings": {}, "commit": None, "reasons": (), "links": ()},
    ],
)
def test_thin_data_still_makes_a_page(change):
    words = Page(render(replace(REPORT, **change))).words
    assert "Version 5 beats version 4" in words
    assert "None" not in words
    assert "nan" not in words


HOSTILE = '"><script>alert(1)</script>$x_{$ @0@ {{7*7}} \n\x00'


def test_words_from_the_data_stay_words():
    report = replace(
        REPORT,
        model=HOSTILE,
        owner=HOSTILE,
        reasons=(HOSTILE,),
        score_name=HOSTILE,
        challenger=HOSTILE,
        champion=HOSTILE,
        history=tuple(replace(day, version=HOSTILE) for day in REPORT.history),
        slices=(Slice(HOSTILE, HOSTILE, 0.5, 0.6, 3, True),),
        links=((HOSTILE, HOSTILE),),
    )
    page = Page(render(report))
    assert not page.all("script")
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "alert(1)" in page.words
    assert "{{7*7}}" in page.words


def test_a_link_that_is_no_web_address_cannot_be_followed():
    page = Page(render(replace(REPORT, links=(("MLflow run", "javascript:alert(1)"),))))
    assert not page.all("a")
    assert "javascript:alert(1)" in page.words


def test_only_the_worst_slices_are_drawn_but_all_are_listed():
    slices = tuple(Slice("site", f"number {i}", 0.5, 0.5 + i / 100, 100) for i in range(40))
    page = Page(render(replace(REPORT, slices=slices)))
    assert "The first 12 of 40 are drawn." in page.words
    assert page.words.count("number 39 ") == 1
    assert page.words.count("number 0 ") == 3
