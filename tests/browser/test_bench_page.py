"""What `make bench-statistics` has found, on MLflow's own pages in a real browser."""

import pytest

from tests.bench.statistics import shown

WAIT_MS = 60_000
SIZE = [900, 400]
"""Pixels of the image of the curves."""


@pytest.fixture
def link(tracking_uri, drawn, tmp_path, monkeypatch):
    """Where the run is looked at."""
    monkeypatch.setenv("ZETA_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return shown.put([], *drawn, {"commit": "unknown", "years": "4"}).removeprefix("figures and curves are in MLflow: ")


def test_the_image_of_the_curves_is_drawn_among_the_runs_artifacts(browser, link):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{link}/artifacts/curves.png")
        image = page.wait_for_function(
            "() => [...document.images].find(image => image.naturalWidth > 0 && image.src.startsWith('blob:'))",
            timeout=WAIT_MS,
        )
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == SIZE
        assert image.as_element().is_visible()


def test_a_curve_is_a_chart_of_the_run(browser, link, drawn):
    points = drawn[0]["it wanders by one point a day", "Zeta"]
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        page = context.new_page()
        page.goto(f"{link}/model-metrics")
        page.get_by_placeholder("Search metric charts").fill("wanders by one point a day/Zeta$")
        seen = page.wait_for_function(
            "n => document.querySelectorAll('.js-plotly-plot .point').length === n && n",
            arg=len(set(points)),
            timeout=WAIT_MS,
        )
        assert seen.json_value() > 1
