"""Challengers that must not pass, at a gate that lets an honest one pass: the champion has degraded before it."""

import itertools
import json
import math
import shutil

import pytest

from pipeline import artifact, data, delivery, judgement, steps, training, workspace
from pipeline.errors import Permanent
from pipeline.verdict import Gate
from tests.installation import BOOTSTRAP, COMMIT, RECOVERED, at, opened

MOMENT = at(RECOVERED)
_run = itertools.count(1)


class Bench:
    """A toy whose champion has degraded, an honest challenger, and the means to plant others in its place."""

    def __init__(self, installation):
        self.name = installation.toy(alerts=[])
        self.work, first = workspace.load(self.name), at(BOOTSTRAP)
        for step in (steps.train, steps.gate, steps.build_image):
            step(self.work, first)
        self.registry, self.config = self.work.registry, self.work.config
        self.champion = self.registry.versions(self.name)[0]
        delivery.move_aliases(self.work, self.champion)
        steps.train(self.work, MOMENT)
        self.honest = self.registry.versions(self.name)[0]
        self.windows = training.split(self.config, data.matured_end(MOMENT, self.config))

    def rows(self, window):
        return training.rows(data.read(self.work.source, self.config, window), self.config, window, None)

    def trained(self, rows, folder):
        """Return the directory of a model that was trained on rows."""
        training.train(self.config, self.work.own, rows, self.windows, lambda model: 0.0, COMMIT, folder / "model")
        return folder / "model"

    def copied(self, version, folder):
        """Return a copy of a version's directory."""
        return shutil.copytree(self.registry.download(version, folder / "registry"), folder / "model")

    def plant(self, directory, **tags):
        """Register a directory as if the honest challenger's training had written it."""
        run = self.registry.run(self.name, at(100 + next(_run)))
        return self.registry.register(self.name, directory, run, {**self.honest.tags, **tags})

    def judged(self, version):
        found = judgement.judge(self.work, version.run_id, version)
        assert found.evidence.rows in (0, 320)
        return found.verdict


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tracking_uri):
    with opened(tmp_path_factory.mktemp("faults"), tracking_uri) as made:
        yield Bench(made)


def test_an_honest_challenger_passes(bench):
    assert bench.judged(bench.honest).outcome == Gate.PROMOTE


def test_an_equal_refit_is_refused(bench, tmp_path):
    old = training.split(bench.config, data.matured_end(at(BOOTSTRAP), bench.config)).training
    again = bench.rows(old).sample(frac=1.0, replace=True, random_state=1)
    verdict = bench.judged(bench.plant(bench.trained(again, tmp_path)))
    assert verdict.outcome == Gate.REJECT
    assert verdict.reasons[1].startswith("not shown to be better than the champion")
    assert abs(verdict.numbers["gain_on_champion"]) < 0.02


def test_a_model_that_exchanges_labels_is_refused(bench, tmp_path):
    rows = bench.rows(bench.windows.training)
    labels = sorted(set(rows["category"]))
    exchanged = rows.assign(category=rows["category"].map(dict(zip(labels, labels[1:] + labels[:1], strict=True))))
    verdict = bench.judged(bench.plant(bench.trained(exchanged, tmp_path)))
    assert verdict.outcome == Gate.REJECT
    assert [reason.split(":")[0] for reason in verdict.reasons][-1] == "not shown to be better than the baseline"


def test_the_files_of_another_model_are_refused(bench, tmp_path):
    directory = bench.copied(bench.honest, tmp_path)
    shutil.copy(bench.copied(bench.champion, tmp_path / "other") / "model.skops", directory)
    with pytest.raises(Permanent, match="golden row 0 is answered"):
        bench.judged(bench.plant(directory))


def test_a_model_that_saw_the_label_in_a_feature_is_refused(bench, tmp_path):
    rows = bench.rows(bench.windows.training)
    leaked = rows.assign(title=rows["category"])
    directory = bench.trained(leaked, tmp_path)
    assert (artifact.load(directory).predict(leaked) == leaked["category"]).all()
    verdict = bench.judged(bench.plant(directory))
    assert verdict.outcome == Gate.REJECT
    assert verdict.reasons[-1].startswith("not shown to be better than the baseline")


def test_rows_that_a_model_was_trained_on_do_not_count(bench, tmp_path):
    directory = bench.trained(bench.rows(bench.windows.gate), tmp_path)
    verdict = bench.judged(bench.plant(directory))
    assert verdict.outcome == Gate.INSUFFICIENT
    assert verdict.reasons == ("0 unseen rows in the gate's window; at least 40 are needed",)


def test_another_dictionary_is_refused_by_its_fingerprint(bench, tmp_path):
    directory = bench.copied(bench.honest, tmp_path)
    described = json.loads((directory / "zeta.json").read_text(encoding="utf-8"))
    described["fingerprint"]["japanese.sys.dic"] = "0" * 64
    (directory / "zeta.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(Permanent, match=r"japanese\.sys\.dic is absent, at training it was 000"):
        bench.judged(bench.plant(directory))


def test_the_champion_compared_with_itself_is_refused_by_name(bench, tmp_path):
    verdict = bench.judged(bench.plant(bench.copied(bench.champion, tmp_path)))
    assert verdict.outcome == Gate.REJECT
    assert verdict.reasons == ("it is the champion itself: both have the same model file",)


def test_only_versions_compared_with_the_same_rival_on_the_same_rows_have_looked(bench, tmp_path):
    directory = bench.copied(bench.honest, tmp_path)
    looked = {"against": bench.champion.number, "gate": "reject"}
    others = {"against": "baseline"}, {"gate": "insufficient"}, {"training_end": "0", "gate_end": "8"}
    planted = [bench.plant(directory, **looked | other) for other in ({}, {}, *others)]
    verdict = bench.judged(bench.honest)
    for one in planted:
        bench.registry.tag(one, {"gate": "insufficient"})
    assert verdict.numbers["look"] == 3
    assert verdict.numbers["alpha"] == pytest.approx(0.05 * 6 / (math.pi * 3) ** 2)
