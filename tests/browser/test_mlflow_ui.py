"""MLflow's own pages in a real browser: what a reviewer looks at of a model that Zeta keeps."""

import pytest

from tests.installation import BOOTSTRAP, at

WAIT_MS = 60_000


@pytest.fixture
def ui(browser):
    """A page in a context of its own; MLflow's pages may say on the console what they like."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield context.new_page()
    context.close()


def test_the_models_page_shows_which_version_is_champion(ui, kept):
    made, name = kept
    ui.goto(f"{made.tracking_uri}/#/models/{name}")
    row = ui.get_by_role("row").filter(has_text="Version 1")
    row.get_by_text("champion", exact=False).first.wait_for(timeout=WAIT_MS)
    assert "challenger" in row.inner_text()


def test_the_monitor_run_draws_the_score_over_time_with_its_reference_and_interval(ui, kept):
    made, name = kept
    champion = made.registry.aliased(name, "champion")
    points = len(made.registry.points(champion))
    ui.goto(f"{made.registry.link(made.registry.monitor(champion))}/model-metrics")
    for metric in ("score", "score_low", "score_high", "reference"):
        ui.get_by_placeholder("Search metric charts").fill(f"^{metric}$")
        ui.get_by_text(f"monitor of version 1 ({metric})", exact=True).wait_for(timeout=WAIT_MS)
        drawn = ui.wait_for_function(
            "n => document.querySelectorAll('.js-plotly-plot .point').length === n && n", arg=points, timeout=WAIT_MS
        )
        assert drawn.json_value() == points


def test_the_report_opens_among_the_runs_artifacts(ui, kept):
    made, name = kept
    ui.goto(f"{made.registry.link(made.registry.run(name, at(BOOTSTRAP)))}/artifacts/report.html")
    report = ui.frame_locator("iframe")
    report.get_by_role("heading", name="Version 1 is fit to be the first champion").wait_for(timeout=WAIT_MS)
    drawn = report.locator("svg:visible")
    drawn.first.wait_for(timeout=WAIT_MS)
    assert drawn.count() > 0
