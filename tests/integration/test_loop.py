"""The loop on real titles: real MLflow, real releases, every morning done twice."""

import json
import shutil
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import pytest

from pipeline import delivery, dossier, morning, steps, workspace
from pipeline.demo import titles
from pipeline.demo.inbox import Inbox
from pipeline.demo.story import BROKEN, MORNINGS
from pipeline.errors import Permanent
from pipeline.trouble import Kind
from tests.installation import BOOTSTRAP, COMMIT, HOPELESS, KEEP, RECOVERED, at, opened, run

ASKED = date(2014, 3, 1), date(2014, 5, 1)


@dataclass
class Chapter:
    """A morning, and what was there after it was done once, and twice."""

    answers: dict
    once: dict
    twice: dict
    served: list


def play(installation, model, inbox):
    name, chapters = installation.shipped(model), []
    rows = [{"title": title} for title in titles.between(installation.folder / "anime.db", *ASKED)[:100]]
    for one in (one for one in MORNINGS if one.model == model):
        if one.loses_titles:
            titles.lose_titles(installation.folder / "anime.db", *BROKEN)
        answers, once = morning.run(name, one.at), installation.seen(name)
        pages = list(inbox.titles)
        assert morning.run(name, one.at).keys() == answers.keys() - ({"announce"} if "train" not in answers else set())
        assert inbox.titles == pages
        chapters.append(Chapter(answers, once, installation.seen(name), installation.ask(name, rows)))
    return name, chapters


@pytest.fixture(scope="module")
def story(tmp_path_factory, tracking_uri):
    """The installation after both models' stories, which are told by model: (name, chapters)."""
    with (
        opened(tmp_path_factory.mktemp("story"), tracking_uri) as made,
        Inbox() as inbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        told = {model: play(made, model, inbox) for model in ("sites", "type")}
        yield made, told, inbox


@pytest.fixture(scope="module")
def sites(story):
    return story[1]["sites"]


@pytest.fixture(scope="module")
def kinds(story):
    return story[1]["type"]


def outcomes(chapter):
    [newest] = [chapter.once["runs"][moment] for moment in [max(chapter.once["runs"])]]
    return {key: newest.get(key) for key in ("champion", "verdict", "challenger", "gate", "rollout")}


def test_without_a_champion_one_is_trained_judged_and_released(sites):
    first = sites[1][0]
    assert outcomes(first) == {
        "champion": "", "verdict": "retrain", "challenger": "1", "gate": "promote", "rollout": "promoted",
    }  # fmt: skip
    assert first.once["aliases"] == {"champion": "1", "challenger": "1"}
    assert first.once["releases"] == {"stable": ("1", first.answers["build-image"]["digest"]), "canary": None}


def test_a_morning_on_which_the_score_holds_ends_after_decide(sites):
    first, second, *_ = sites[1]
    assert list(second.answers) == ["evaluate", "decide"]
    assert outcomes(second) == {
        "champion": "1", "verdict": "keep", "challenger": None, "gate": None, "rollout": None,
    }  # fmt: skip
    assert len(second.once["points"]["1"]) > len(first.once["points"]["1"])
    assert (second.served, second.once["releases"]) == (first.served, first.once["releases"])


def test_a_degraded_champion_is_replaced_and_the_served_answers_change(sites):
    _, second, third, _ = sites[1]
    found = outcomes(third)
    assert found.pop("gate").startswith("promote")
    assert found == {"champion": "1", "verdict": "retrain", "challenger": "2", "rollout": "promoted"}
    assert third.once["aliases"] == {"champion": "2", "challenger": "2", "previous": "1"}
    assert third.once["releases"] == {"stable": ("2", third.answers["build-image"]["digest"]), "canary": None}
    assert third.served != second.served


def test_bad_data_pages_and_retrains_nothing(sites, story):
    _, _, third, fourth = sites[1]
    assert fourth.answers["evaluate"]["data_bad"]
    assert outcomes(fourth) == {
        "champion": "2", "verdict": "data_bad", "challenger": None, "gate": None, "rollout": None,
    }  # fmt: skip
    assert story[2].has(sites[0], Kind.DATA_BAD)
    assert fourth.served == third.served
    for what in ("versions", "aliases", "releases", "points"):
        assert fourth.once[what] == third.once[what]


def test_a_challenger_that_is_no_better_is_rejected_paged_and_production_left_alone(kinds, story):
    first, second = kinds[1]
    assert outcomes(second) == {
        "champion": "1", "verdict": "retrain", "challenger": "2", "gate": "reject", "rollout": None,
    }  # fmt: skip
    assert story[2].has(kinds[0], Kind.GATE_REJECTED)
    assert second.once["aliases"] == {"champion": "1", "challenger": "2"}
    assert "digest" not in second.once["versions"]["2"]
    assert (second.served, second.once["releases"]) == (first.served, first.once["releases"])


@pytest.mark.parametrize("model", ["sites", "type"])
def test_a_morning_done_again_changes_nothing(story, model):
    for chapter in story[1][model][1]:
        assert chapter.twice == chapter.once
        assert set(chapter.once["statuses"].values()) == {"FINISHED"}


def test_the_history_of_a_version_only_grows(sites):
    for before, after in pairwise(sites[1]):
        for number, points in before.once["points"].items():
            assert after.once["points"][number][: len(points)] == points


def test_a_version_says_what_it_was_made_of_and_what_became_of_it(sites):
    tags = sites[1][-1].once["versions"]["2"]
    assert tags["gate"].startswith("promote")
    assert tags["digest"] == sites[1][2].answers["build-image"]["digest"]
    # A year for the gate, three for the training before it; labels mature in 30 days.
    assert tags["gate_window"] == "2014-01-02..2015-01-01"
    assert tags["training_window"] == "2011-01-03..2014-01-01"
    assert len(tags["fingerprint"]) == len(tags["data"]) == 64
    assert tags["commit"] == COMMIT


def test_no_artifact_is_a_pickle_and_a_judged_run_has_its_report(story, sites, tmp_path):
    registry = story[0].registry
    files = {}
    for version in registry.versions(sites[0]):
        folder = registry.download(version, tmp_path / version.number)
        files[version.number] = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files["1"] == files["2"] >= {"MLmodel", "model.skops", "zeta.json", "training.json", "keys.npy"}
    assert not {name for names in files.values() for name in names if name.endswith((".pkl", ".pickle", ".joblib"))}
    judged = [run for run in registry.runs(sites[0]) if "zeta.gate" in run.data.tags]
    assert len(judged) == 2
    for one in judged:
        report = registry.read(one.info.run_id, "report.html")
        assert report.startswith("<!doctype html>")
        assert sites[0] in report


def test_mlflow_loads_a_version_only_where_a_person_allows_it_and_then_answers_as_the_release(
    story, sites, monkeypatch
):
    import mlflow.sklearn
    import pandas as pd
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_TRACKING_URI", story[0].tracking_uri)
    # MLflow takes the list of trusted types from the model itself, so it refuses skops too; Zeta has a list of its own.
    with pytest.raises(MlflowException, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        mlflow.sklearn.load_model(f"models:/{sites[0]}@champion")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    model = mlflow.sklearn.load_model(f"models:/{sites[0]}@champion")
    rows = [{"title": title} for title in titles.between(story[0].folder / "anime.db", *ASKED)[:100]]
    assert ["|".join(found) for found in story[0].ask(sites[0], rows)] == list(model.predict(pd.DataFrame(rows)))


def test_an_earlier_time_is_judged_as_if_nothing_came_after_it(installation, monkeypatch):
    """Two models with the same rows: one lives its mornings in order, the other the last one first."""
    with Inbox() as inbox:
        monkeypatch.setenv("ZETA_ALERT_ONCALL", inbox.url)
        days = (KEEP, 35, 38)
        ordered, mixed = installation.toy(), installation.toy()
        run(ordered, BOOTSTRAP, *days)
        run(mixed, BOOTSTRAP, *reversed(days))
    registry = installation.registry
    for day in days:
        found = [json.loads(registry.read(registry.run(name, at(day)), "decision.json")) for name in (ordered, mixed)]
        for one in found:
            # What had been retrained by then depends on which mornings had been lived.
            del one["inputs"]["retrained"]
        assert found[0] == found[1]


@pytest.fixture(scope="module")
def toy(tmp_path_factory, tracking_uri):
    """An installation with a toy whose second version serves, and what both versions answer."""
    with opened(tmp_path_factory.mktemp("toy"), tracking_uri) as made:
        name = made.toy(alerts=[])
        run(name, BOOTSTRAP)
        first = made.ask(name, ROWS)
        run(name, RECOVERED)
        yield made, name, {"1": first, "2": made.ask(name, ROWS)}


ROWS = [{"title": f"{word} 新品", "weight": 1.0} for word in ("文庫", "冷蔵庫", "万年筆")]


def test_rollback_swaps_the_champion_and_its_predecessor_and_the_answers(toy):
    made, name, answers = toy
    assert answers["1"] != answers["2"]
    digests = {number: tags["digest"] for number, tags in made.seen(name)["versions"].items()}
    for now, before in (("1", "2"), ("2", "1")):
        delivery.rollback(workspace.load(name), at(RECOVERED))
        seen = made.seen(name)
        assert (seen["aliases"]["champion"], seen["aliases"]["previous"]) == (now, before)
        assert seen["releases"] == {"stable": (now, digests[now]), "canary": None}
        assert made.ask(name, ROWS) == answers[now]


def test_a_later_champion_is_judged_beside_the_loss_of_the_first_deployment(toy):
    made, name, _ = toy
    work, (first, second) = workspace.load(name), (made.registry.version(name, number) for number in "12")
    for moment, champion, expected in (
        (at(BOOTSTRAP + 1), first, None),
        (at(RECOVERED + 1), second, float(first.tag("reference_loss"))),
    ):
        run = made.registry.run(name, moment)
        made.registry.record(run, {"champion": champion.number})
        steps.evaluate(work, moment)
        assert dossier.inputs(work, run, moment).first == expected


def test_a_run_done_again_leaves_a_rollback_alone(toy):
    made, name, answers = toy
    delivery.rollback(workspace.load(name), at(RECOVERED))
    rolled_back = made.seen(name)
    run(name, BOOTSTRAP, RECOVERED)
    assert made.seen(name) == rolled_back
    delivery.rollback(workspace.load(name), at(RECOVERED))
    assert made.ask(name, ROWS) == answers["2"]


def test_a_challenger_that_was_compared_with_an_older_champion_is_not_rolled_out(toy):
    made, name, _ = toy
    before, work = made.seen(name), workspace.load(name)
    made.registry.record(made.registry.run(name, at(BOOTSTRAP)), {"rollout": ""})
    with pytest.raises(Permanent, match="version 1 was compared with baseline, but the champion is version 2 now"):
        steps.roll_out(work, at(BOOTSTRAP))
    made.registry.record(made.registry.run(name, at(BOOTSTRAP)), {"rollout": "promoted"})
    assert made.seen(name) == before


def test_a_champion_that_does_not_serve_any_more_is_served_again(toy):
    made, name, answers = toy
    work = workspace.load(name)
    work.platform.stop(name)
    shutil.rmtree(made.home / "releases" / name)
    steps.evaluate(work, at(RECOVERED + 1))
    assert made.ask(name, ROWS) == answers["2"]
    assert made.seen(name)["releases"]["stable"][0] == "2"


def test_a_changed_environment_is_a_hard_error_that_names_the_part(toy):
    made, name, _ = toy
    work = workspace.load(name)
    file = work.unpacked(made.registry.aliased(name, "champion").tag("digest")) / "model/zeta.json"
    recorded = file.read_text()
    described = json.loads(recorded)
    described["fingerprint"]["scikit-learn"] = "0.1"
    file.write_text(json.dumps(described))
    try:
        with pytest.raises(Permanent, match=r"scikit-learn is [\d.]+, at training it was 0\.1"):
            steps.evaluate(work, at(RECOVERED + 2))
    finally:
        file.write_text(recorded)
    assert "champion" not in made.registry.run_tags(made.registry.run(name, at(RECOVERED + 2)))


def test_a_degraded_champion_waits_for_the_cooldown(installation):
    name = installation.toy(alerts=[])
    assert run(name, BOOTSTRAP, HOPELESS)["gate"] == {"verdict": "reject"}
    assert run(name, HOPELESS + 1)["decide"]["verdict"] == "keep"
    tags = installation.seen(name)["runs"]
    assert "not again before 2026-02-14 (training.cooldown)" in tags[max(tags)]["reasons"]
    assert run(name, HOPELESS + 2)["decide"]["verdict"] == "retrain"
