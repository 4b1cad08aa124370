"""What `make bench-statistics` has found is put into MLflow, if that runs."""

import math
from dataclasses import replace

import pytest

from pipeline.adapters.runs import Runs, unprefixed
from tests.bench.statistics import shown
from tests.bench.statistics.detection import SMALL, STEADY, delay_figures, false_alarm_figures
from tests.ports import free_port

TAGS = {"commit": "0123456+", "years": "4"}
ALARMS = "false retrainings a year/2000 rows tau 0 pt"
CURVE = "days to a drop by false alarms in 1000 years: the true loss is steady/Zeta"


@pytest.fixture(scope="module")
def figures():
    return [*false_alarm_figures(STEADY, 4), *delay_figures(SMALL, 0.05, [(0.5, 4), (0.9, 6)], 4)]


@pytest.fixture
def put(figures, drawn, tmp_path, monkeypatch):
    """Put what was found into the MLflow at an address; return the line that says so."""
    monkeypatch.setenv("ZETA_HOME", str(tmp_path))

    def at(address, **changed):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        return shown.put([replace(figure, **changed) for figure in figures], *drawn, TAGS)

    return at


def test_a_run_holds_figures_curves_image_and_what_they_are_of(put, figures, drawn, tracking_uri, tmp_path, capsys):
    line, runs = put(tracking_uri, met=True), Runs(tracking_uri)
    run_id = line.rpartition("/")[2]
    assert line == f"figures and curves are in MLflow: {runs.link(run_id)}"
    assert capsys.readouterr() == ("", "")
    run = runs.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert unprefixed(run.data.tags).items() >= TAGS.items()
    assert [run.data.metrics[ALARMS + bound] for bound in ("", " low", " high")] == [
        figures[0].value, figures[0].low, figures[0].high
    ]  # fmt: skip
    assert run.data.metrics["delay 90 percent of drops/-5 pt 500 rows tau 0 pt"] == figures[-1].value
    history = {(point.step / 1000, point.value) for point in runs.client.get_metric_history(run_id, CURVE)}
    lines, image = drawn
    assert history == set(lines["the true loss is steady", "Zeta"])
    assert runs.fetch(run_id, "curves.png", tmp_path / "fetched").read_bytes() == image.read_bytes()


def test_every_time_is_a_run_of_its_own_that_failed_when_a_figure_was_missed(put, tracking_uri):
    runs = Runs(tracking_uri)
    first, second = (runs.client.get_run(put(tracking_uri, met=met).rpartition("/")[2]).info for met in (True, False))
    assert (first.status, second.status) == ("FINISHED", "FAILED")
    assert first.run_id != second.run_id


def test_a_drop_that_is_not_found_is_no_point_of_a_curve():
    points = [(0.0, 9_816.0), (0.0, math.nan), (0.0123, 364.0), (1.0, 1.0)]
    assert list(shown.metrics([], {("steady", "Zeta"): points})) == [
        ("days to a drop by false alarms in 1000 years: steady/Zeta", 364.0, 12),
        ("days to a drop by false alarms in 1000 years: steady/Zeta", 1.0, 1000),
    ]


def test_where_no_server_answers_one_line_says_how_to_start_it(put):
    address = f"http://127.0.0.1:{free_port()}"
    assert put(address) == f"figures and curves are not in MLflow: no server answers at {address}; start it: make up"


def test_what_hinders_it_is_said_and_does_not_end_the_bench(put, tracking_uri, monkeypatch):
    monkeypatch.setitem(TAGS, "commit", "no one's")
    assert put(tracking_uri).startswith("figures and curves are not in MLflow: MLflow: ")
