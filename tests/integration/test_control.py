"""The control on real mornings: fitted once in a while, kept in MLflow, held against the champion."""

import json

import pytest

from pipeline import steps, workspace
from pipeline.adapters.registry import GAP
from pipeline.control import KIND
from tests.installation import BOOTSTRAP, HOPELESS, KEEP, at, opened, run


@pytest.fixture(scope="module")
def lived(tmp_path_factory, tracking_uri):
    """A model with a control after some mornings, of which the last finds it degraded by a change of its labels."""
    with opened(tmp_path_factory.mktemp("control"), tracking_uri) as made:
        name = made.toy(alerts=[], evaluation={"control": "5d"})
        run(name, BOOTSTRAP, KEEP, KEEP + 1, KEEP + 3, HOPELESS)
        yield workspace.load(name)


def decided(work, day):
    registry = work.registry
    return json.loads(registry.read(registry.run(work.config.name, at(day)), "decision.json"))


def test_a_control_serves_for_a_while_and_another_morning_fits_the_next(lived):
    ends = [int(run.data.tags["zeta.end"]) for run in lived.registry.runs(lived.config.name, KIND)]
    first = int(lived.registry.version(lived.config.name, "1").tag("gate_end"))
    assert ends[::-1][0] == first
    assert all(later - earlier >= 5 for earlier, later in zip(ends[1:], ends, strict=False))
    assert len(ends) == 2


def test_every_new_point_has_its_gap_which_mlflow_charts(lived):
    champion = lived.registry.version(lived.config.name, "1")
    points, gaps = lived.registry.points(champion), lived.registry.points(champion, GAP)
    assert [gap.day for gap in gaps] == [point.day for point in points if point.day >= int(champion.tag("gate_end"))]
    run = lived.registry.client.get_run(lived.registry.monitor(champion))
    assert run.data.metrics["gap_loss"] == gaps[-1].loss


def test_the_verdict_says_what_a_fresh_fit_gains_and_holds_the_gaps(lived):
    found = decided(lived, HOPELESS)
    assert found["outcome"] == "retrain"
    assert "since its deployment, and on the same rows a fresh fit gains" in found["reasons"][1]
    assert len(found["inputs"]["gaps"]) > 8
    assert {"stale", "stale_level"} <= found["numbers"].keys()


def test_a_morning_done_again_fits_no_other_and_adds_nothing(lived):
    champion = lived.registry.version(lived.config.name, "1")
    before = lived.registry.points(champion, GAP), len(lived.registry.runs(lived.config.name, KIND))
    steps.evaluate(lived, at(HOPELESS))
    assert (lived.registry.points(champion, GAP), len(lived.registry.runs(lived.config.name, KIND))) == before


def test_too_few_rows_for_a_control_are_told_and_stop_no_morning(installation, caplog):
    name = installation.toy(alerts=[], evaluation={"control": "5d"})
    run(name, BOOTSTRAP)
    installation.change_rows("UPDATE listings SET category = NULL WHERE at < ?", f"{at(BOOTSTRAP):%Y-%m-%d}")
    assert run(name, KEEP)["decide"]["verdict"] == "keep"
    assert "no control: " in caplog.text
    assert "labelled rows in the training window" in caplog.text
