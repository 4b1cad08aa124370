"""report.html in a real browser, opened from the disk as a reviewer would."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import escape

import pytest

from pipeline.charts import ScoredDay
from pipeline.comparison import Difference
from pipeline.data import Window
from pipeline.ledger import Look
from pipeline.report import Alarm, Report, render
from pipeline.slices import Slice
from pipeline.verdict import Gate

FIRST_DAY = date(2026, 1, 1)
REPORT = Report(
    model="sites",
    owner="listing-ml",
    at=datetime(2026, 3, 3, 5, tzinfo=UTC),
    run="0f3c2b9a8d7e4f1ab2c3d4e5f6a7b8c9",
    outcome=Gate.REJECT,
    reasons=("not shown to be better than the champion: difference -0.012, needed above 0.000",),
    score_name="micro_f1",
    better="higher",
    challenger="5",
    challenger_score=0.402,
    training=Window(20000, 20400),
    training_rows=81234,
    gate=Window(20486, 20514),
    gate_rows=4210,
    fingerprint="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    data_hash="60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    look=Look(2, 0.0076),
    alpha=0.05,
    baseline="most_frequent",
    baseline_score=0.212,
    baseline_gain=Difference(0.19, 0.17, 0.21, 28, 4210),
    baseline_margin=0.0,
    slice_margin=0.02,
    champion="4",
    champion_score=0.414,
    gain=Difference(-0.012, -0.03, 0.006, 28, 4210),
    history=tuple(
        ScoredDay(FIRST_DAY + timedelta(day), 0.58 - day / 300, 0.56 - day / 300, 0.6 - day / 300, 0.585, "4")
        for day in range(60)
    ),
    alarm=Alarm(FIRST_DAY + timedelta(40), 1.3),
    slices=(
        Slice("site", "とても長い名前の配信サイトですから途中で切らなければなりません", 0.5, 0.4, 300, outside=True),
        Slice("site", "an_identifier_without_any_place_to_break_it_" * 3, 0.5, 0.52, 12345),
    ),
    seeds={0: 0.401, 1: 0.402, 2: 0.405},
    kept_seed=1,
    timings={"train": 41.7},
    commit="d3b07384d113edec49eaa6238ad5ff00c0ffee12",
    links=(("MLflow run", "http://127.0.0.1:5500/#/experiments/1/runs/0f3c2b9a8d7e4f1ab2c3d4e5f6a7b8c9"),),
)
SPILL = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Every element that shows words, with the nearest background behind it.
WORDS = """() => [...document.querySelectorAll('body *')]
  .filter(element => element.getClientRects().length
    && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
    && !['TITLE', 'STYLE'].includes(element.tagName.toUpperCase()))
  .map(element => {
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    const style = getComputedStyle(element);
    return [element.textContent, element instanceof SVGElement ? style.fill : style.color,
            getComputedStyle(behind || document.body).backgroundColor];
  })"""


@pytest.fixture
def opened(page, tmp_path):
    """Open a report in the page; the list of addresses that the page asked for."""

    def open_(report, width=1280, scheme="light"):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        (tmp_path / "report.html").write_text(render(report), encoding="utf-8")
        page.goto((tmp_path / "report.html").as_uri())
        return asked

    return open_


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_stands_alone_and_fits(page, opened, width):
    asked = opened(REPORT, width)
    assert asked == [page.url]
    assert page.evaluate(SPILL) == 0
    assert page.get_by_text("Reject", exact=True).is_visible()
    assert page.get_by_role("heading", name="Version 5 does not replace version 4").is_visible()
    assert page.get_by_text("not shown to be better than the champion").is_visible()
    assert page.get_by_text("✕ outside the margin").is_visible()


def test_the_page_shows_in_a_sandbox_as_artifact_viewers_have_it(page):
    page.set_content(f'<iframe sandbox="allow-scripts" width="800" height="600" srcdoc="{escape(render(REPORT))}">')
    inside = page.frame_locator("iframe")
    assert inside.get_by_role("heading", name="Version 5 does not replace version 4").is_visible()
    assert inside.get_by_role("img").count() == 3


@pytest.mark.parametrize("width", [390, 1280])
def test_three_charts_are_drawn_large_enough_to_read(page, opened, width):
    opened(REPORT, width)
    charts = page.get_by_role("img")
    assert charts.count() == 3
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > 0.5 * min(width, 800)
        assert box["height"] > 80
        sizes = chart.evaluate(
            "svg => [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().height)"
        )
        assert sizes
        assert min(sizes) > 9
        lines = chart.evaluate(
            "svg => [...svg.querySelectorAll('path')].filter(path => path.getBBox().width > 40).length"
        )
        assert lines


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_background(page, opened, scheme):
    opened(REPORT, scheme=scheme)
    words = page.evaluate(WORDS)
    assert len(words) > 50
    faint = {(text, contrast(ink, paper)) for text, ink, paper in words if contrast(ink, paper) < 4.5}
    assert faint == set()
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.05) == (scheme == "dark")


def test_hostile_words_are_inert(page, opened):
    hostile = '"><img src=x onerror="document.title=1"><script>document.title="owned"</script>'
    asked = opened(
        replace(
            REPORT,
            model=hostile,
            reasons=(hostile,),
            history=tuple(replace(day, version=hostile) for day in REPORT.history),
            slices=(Slice(hostile, hostile, 0.5, 0.6, 3),),
        )
    )
    assert asked == [page.url]
    assert page.locator("script, img").count() == 0
    assert page.title() == f"Reject: {hostile} 5"
    assert page.get_by_text(hostile).first.is_visible()


def contrast(ink: str, paper: str) -> float:
    """The contrast ratio of WCAG 2.2, 1.4.3."""
    dark, light = sorted((luminance(ink), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of "rgb(r, g, b)" as WCAG 2.2 defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
