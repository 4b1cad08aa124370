"""How the fleet stands, told by the command ``zeta status`` of a real installation."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.console import Console

from pipeline import fleet, workspace
from pipeline.adapters.local import LocalPlatform
from pipeline.rollout import Release
from tests.installation import BOOTSTRAP, KEEP, at, opened, run
from tests.ports import free_port


@pytest.fixture(scope="module")
def standing(tmp_path_factory, tracking_uri):
    """An installation with a model that serves, one that never ran, and one whose model.yaml is broken."""
    with opened(tmp_path_factory.mktemp("fleet"), tracking_uri) as made:
        serving, new, broken = made.toy(alerts=[]), made.toy(), made.toy(task="guessing")
        run(serving, BOOTSTRAP, KEEP)
        yield made, serving, new, broken


def test_for_scripts_every_model_is_told_with_all_that_is_known(standing):
    made, serving, new, broken = standing
    done = made.zeta("status", "--json")
    assert done.returncode == 0, done.stderr
    told = {one["model"]: one for one in json.loads(done.stdout)}
    assert list(told) == sorted([serving, new, broken])
    one, release = told[serving], made.seen(serving)["releases"]["stable"]
    assert (one["champion"], one["digest"], one["release"]) == (*release, "v1 ready")
    assert (one["servers"], one["canary"]) == ("1/1", None)
    assert (one["verdict"], one["judged_at"]) == ("keep", at(KEEP).isoformat())
    assert (one["owner"], one["score"], one["trouble"], one["fault"]) == ("tests", "accuracy", None, None)
    assert one["deployed"] == pytest.approx(1 - float(made.registry.aliased(serving, "champion").tag("reference_loss")))
    losses = [point.loss for point in made.registry.points(made.registry.aliased(serving, "champion"))]
    assert one["trend"] == pytest.approx([1 - loss for loss in losses[-10:]])
    assert min(one["trend"]) <= one["now"] <= max(one["trend"])
    assert (one["judged"], one["evidence"] <= 1, one["e_value"] < 20) == ("1", True, True)
    assert "T05:00:00+00:00" in one["next_run"]
    assert httpx.get(one["address"], trust_env=False).json()["version"] == "1"
    assert {key for key, value in told[new].items() if value not in (None, [])} == {
        "model", "owner", "score", "missed", "next_run",
    }  # fmt: skip
    assert "'guessing'" in told[broken]["fault"]


@pytest.mark.parametrize(
    ("day", "minutes", "missed"),
    [(KEEP, 5, None), (KEEP + 1, 0, None), (KEEP + 1, 60, None), (KEEP + 1, 61, KEEP + 1), (KEEP + 3, 0, KEEP + 2)],
)
def test_a_verdict_is_missed_an_hour_after_its_time(standing, day, minutes, missed):
    _, serving, _, _ = standing
    [one] = fleet.standings([serving], at(day) + timedelta(minutes=minutes))
    assert one.missed == (missed and at(missed).isoformat())


def test_a_run_that_came_to_no_verdict_hides_none(standing):
    made, serving, _, _ = standing
    made.registry.run(serving, at(KEEP + 1))
    [one] = fleet.standings([serving], at(KEEP + 1) + timedelta(hours=4))
    assert (one.verdict, one.judged_at, one.missed) == ("keep", at(KEEP).isoformat(), at(KEEP + 1).isoformat())


def test_evidence_against_an_earlier_version_is_none_against_the_champion(standing):
    made, serving, _, _ = standing
    run = made.registry.run(serving, at(KEEP))
    made.registry.record(run, {"champion": "0"})
    [one] = fleet.standings([serving], at(KEEP))
    made.registry.record(run, {"champion": "1"})
    assert (one.champion, one.judged, one.verdict, one.evidence, one.e_value) == ("1", "0", "keep", None, None)


def test_the_table_names_every_model_and_what_serves(standing):
    made, serving, new, broken = standing
    lines = made.zeta("status", COLUMNS="120").stdout.splitlines()
    [row], [empty], [fault] = ([line for line in lines if name in line] for name in (serving, new, broken))
    assert "v1 ready" in row
    assert "keep" in row
    assert set(row) & set("▁▂▃▄▅▆▇█")
    assert "nothing" in empty
    assert "unknown" in fault


def test_a_canary_that_is_under_way_is_told(standing):
    made, serving, _, _ = standing
    platform = workspace.load(serving).platform
    platform.start_canary(serving, "1", platform.release(serving, "stable").digest)
    [one] = json.loads(made.zeta("status", serving, "--json").stdout)
    assert (one["release"], one["canary"]) == ("v1 ready", "v1 ready")
    assert "canary v1" in made.zeta("status", serving).stdout
    platform.remove_canary(serving)
    [one] = json.loads(made.zeta("status", serving, "--json").stdout)
    assert one["canary"] is None


@pytest.mark.parametrize(
    ("ready", "servers", "told"),
    [
        (True, (2, 2), ("v2 ready", "2/2")),
        (False, (1, 2), ("v2 under way", "1/2")),
        (False, (0, 2), ("v2 NOT READY", "0/2")),
    ],
)
def test_how_many_servers_are_ready_is_told(standing, monkeypatch, ready, servers, told):
    _, serving, _, _ = standing
    release = Release("2", "sha256:2", ready, "http://nowhere", servers)
    monkeypatch.setattr(LocalPlatform, "seen", lambda *_: release)
    [one] = fleet.standings([serving], datetime.now(UTC))
    assert (one.release, one.servers) == told
    console = Console(width=80)
    with console.capture() as captured:
        console.print(fleet.table([one]))
    assert [words for words in told if words in captured.get()] == list(told)


def test_asked_for_one_model_it_tells_of_no_other(standing):
    made, serving, new, broken = standing
    shown = made.zeta("status", serving).stdout
    assert serving in shown
    assert new not in shown
    assert broken not in shown


def test_without_a_registry_each_row_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with opened(tmp_path, f"http://127.0.0.1:{free_port()}") as made:
        name = made.toy()
        done = made.zeta("status", "--json")
    assert done.returncode == 0
    [one] = json.loads(done.stdout)
    assert one["model"] == name
    assert one["fault"].startswith("MLflow: ")


@pytest.mark.parametrize(
    ("values", "shown"), [((), ""), ((0.5,), "▁"), ((0.1, 0.1), "▁▁"), ((0.0, 0.5, 1.0), "▁▅█"), ((3.0, 2.0), "█▁")]
)
def test_a_trend_is_drawn_from_its_lowest_to_its_highest(values, shown):
    assert fleet.spark(values) == shown
