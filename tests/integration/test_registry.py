"""The registry, asked on a real MLflow server."""

import itertools
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pipeline.adapters.registry import CHAMPION, PREVIOUS, Registry
from pipeline.errors import Permanent, Temporary
from pipeline.tally import Point

AT = datetime(2026, 3, 3, 5, tzinfo=UTC)
TAGS = {"at": AT.isoformat(), "gate_end": "7"}
_number = itertools.count(1)


@pytest.fixture
def registry(tracking_uri):
    return Registry(tracking_uri)


@pytest.fixture
def name():
    return f"registered-{next(_number)}"


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "keys.npy").write_bytes(b"keys")
    return folder


def points(days):
    return [Point(day, 1, 500, day / 1000, 0.001) for day in days]


def test_what_nobody_has_made_yet_is_none_and_not_an_error(registry, name):
    assert registry.aliased(name, CHAMPION) is None
    assert registry.note(name, "trouble") is None
    assert registry.versions(name) == []
    assert registry.runs(name) == []


def test_one_run_a_logical_time_whatever_zone_it_is_told_in(registry, name):
    tokyo = AT.astimezone(timezone(timedelta(hours=9)))
    assert registry.run(name, AT) == registry.run(name, tokyo) != registry.run(name, AT + timedelta(days=1))


def test_runs_come_newest_first_by_logical_time_not_by_when_they_were_made(registry, name):
    for day in (2, 3, 1):
        registry.run(name, AT.replace(day=day))
    assert [run.data.tags["zeta.at"][:10] for run in registry.runs(name)] == ["2026-03-03", "2026-03-02", "2026-03-01"]


def test_a_run_registers_one_version_however_often_it_is_asked(registry, name, directory, tmp_path):
    run = registry.run(name, AT)
    made = registry.register(name, directory, run, TAGS)
    assert (made.number, made.run_id, made.at, dict(made.tags)) == ("1", run, AT, TAGS)
    assert registry.register(name, directory, run, TAGS) == made == registry.trained_by(name, run)
    other = registry.register(name, directory, registry.run(name, AT + timedelta(days=1)), TAGS)
    assert [version.number for version in registry.versions(name)] == ["2", "1"]
    copy = registry.download(other, tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.name: path.read_bytes() for path in directory.iterdir()
    }


def test_an_alias_names_the_version_it_was_given_last_with_all_its_tags(registry, name, directory):
    for day in (3, 4):
        registry.register(name, directory, registry.run(name, AT.replace(day=day)), TAGS)
        registry.set_alias(name, CHAMPION, str(day - 2))
    registry.tag(registry.aliased(name, CHAMPION), {"gate": "promote"}, "better by 0.05")
    champion = registry.aliased(name, CHAMPION)
    assert (champion.number, champion.tag("gate"), champion.tag("gate_end")) == ("2", "promote", "7")
    assert registry.aliased(name, PREVIOUS) is None
    assert registry.client.get_model_version(name, "2").description == "better by 0.05"
    with pytest.raises(Permanent, match=rf"{name} version 2: tag zeta\.digest is missing"):
        champion.tag("digest")


def test_a_note_is_kept_until_it_is_emptied(registry, name):
    registry.set_note(name, "trouble", "データ")
    assert registry.note(name, "trouble") == "データ"
    registry.set_note(name, "trouble", None)
    assert registry.note(name, "trouble") is None


def test_a_text_of_a_run_is_read_back(registry, name):
    run = registry.run(name, AT)
    assert registry.read(run, "decision.json") is None
    registry.write(run, "decision.json", '{"reasons": ["点"]}')
    assert registry.read(run, "decision.json") == '{"reasons": ["点"]}'


def test_a_point_of_the_history_is_written_once(registry, name, directory):
    version = registry.register(name, directory, registry.run(name, AT), TAGS)
    assert registry.points(version) == []
    registry.add_points(version, points([10, 12]), [{"score": 0.9}] * 2)
    changed = [Point(12, 9, 9, 9.0, 9.0), *points([13])]
    registry.add_points(version, changed, [{"score": 0.1}, {"score": 0.8}])
    assert registry.points(version) == points([10, 12, 13])


def test_the_history_of_slices_grows_and_what_is_there_stays(registry, name, directory):
    version = registry.register(name, directory, registry.run(name, AT), TAGS)
    assert registry.slices(version) == {}
    registry.add_slices(version, {"channel = アプリ": points([10, 12])})
    changed = [replace(points([12])[0], loss=0.9), *points([13])]
    registry.add_slices(version, {"channel = アプリ": changed, "channel = web": points([13])})
    registry.add_slices(version, {})
    assert registry.slices(version) == {"channel = アプリ": points([10, 12, 13]), "channel = web": points([13])}


def test_a_version_has_several_series_of_points(registry, name, directory):
    version = registry.register(name, directory, registry.run(name, AT), TAGS)
    registry.add_points(version, points([10]), [{}])
    registry.add_points(version, points([10, 11]), [{}, {}], "control_")
    assert (registry.points(version), registry.points(version, "control_")) == (points([10]), points([10, 11]))


def test_a_long_history_is_kept_whole_and_shown_as_the_score_by_day(registry, name, directory):
    version = registry.register(name, directory, registry.run(name, AT), TAGS)
    days = range(20_000, 20_400)
    registry.add_points(version, points(days), [{"score": 1 - day / 1000, "reference": 0.9} for day in days])
    assert registry.points(version) == points(days)
    experiment = registry.client.get_experiment_by_name(name).experiment_id
    [monitor] = registry.client.search_runs([experiment], "tags.`zeta.kind` = 'monitor'")
    shown = registry.client.get_metric_history(monitor.info.run_id, "score")
    assert {(one.step, one.timestamp // 86_400_000) for one in shown} == {(day, day) for day in days}


def test_what_is_not_there_but_must_be_is_permanent(registry, name):
    with pytest.raises(Permanent, match=name):
        registry.version(name, "7")
    with pytest.raises(Permanent):
        registry.run_tags("0" * 32)


def test_a_server_that_cannot_be_reached_is_temporary(monkeypatch, name):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        registry = Registry(f"http://127.0.0.1:{closed.getsockname()[1]}")
        for ask in (lambda: registry.aliased(name, CHAMPION), lambda: registry.run(name, AT)):
            with pytest.raises(Temporary, match="MLflow"):
                ask()
