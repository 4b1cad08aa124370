"""A backtest comes to what real mornings came to: with MLflow, images and releases, on the same rows."""

import json

import msgspec
import pytest

from pipeline import data, workspace
from pipeline.backtest.walk import Walk
from tests.installation import BOOTSTRAP, HOPELESS, KEEP, RECOVERED, at, run

DAYS = (BOOTSTRAP, KEEP, HOPELESS, RECOVERED)


@pytest.mark.parametrize("watched", [{}, {"control": "3d", "minimum_rows": 80}], ids=["alone", "slices and a control"])
def test_the_same_mornings_come_to_the_same_verdicts_for_the_same_reasons(installation, watched):
    name = installation.toy(alerts=[], evaluation=watched, gate={"window": "8d"} if watched else {})
    run(name, *DAYS)
    work, registry = workspace.load(name), installation.registry
    walk = Walk(work, data.matured_end(at(RECOVERED), work.config))
    lives = [walk.live(at(day)) for day in DAYS]
    for lived in lives:
        run_id = registry.run(name, lived.at)
        decided, judged = (json.loads(registry.read(run_id, file) or "{}") for file in ("decision.json", "gate.json"))
        found = json.loads(msgspec.json.encode(lived))
        assert {key: decided[key] for key in ("outcome", "reasons", "numbers")} == {
            "outcome": found["verdict"], "reasons": found["reasons"], "numbers": found["numbers"],
        }  # fmt: skip
        verdict = judged.get("verdict", {})
        assert (found.get("gate"), found.get("gate_reasons")) == (verdict.get("outcome"), verdict.get("reasons"))
        assert lived.challenger == judged.get("challenger")
    assert walk.champion.number == "3"
    assert any("stale" in lived.numbers for lived in lives) == bool(watched)
