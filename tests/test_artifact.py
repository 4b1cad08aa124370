import os
import pickletools
import sys
import zipfile

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from pipeline import artifact, fingerprint
from pipeline.artifact import Model
from pipeline.errors import ConfigError, Permanent
from pipeline.manifest import Golden, Manifest

FEATURES = {"width": "number", "height": "number"}
GOLDEN = Golden([{"width": 1.0, "height": None}], ["a"])


def manifest(task="classification", trusted=()):
    return Manifest("toy", task, FEATURES, [], fingerprint.current([]), GOLDEN, [*artifact.TRUSTED, *trusted], "abc")


def rows(n=90, seed=0):
    """Return n rows and their labels: c2 is wide, c1 is high, c0 neither."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"height": random.normal(size=n), "width": random.normal(size=n)})
    labels = np.where(frame["width"] > 0.5, "c2", np.where(frame["height"] > 0, "c1", "c0")).astype(object)
    return frame, labels


def fitted(estimator=None, classes=3, task="classification"):
    """Return a model of as many classes."""
    frame, labels = rows()
    truth = labels if classes == 3 else np.where(labels == "c2", "1", "0").astype(object)
    return Model(manifest(task), (estimator or LogisticRegression()).fit(frame[list(FEATURES)], truth))


@pytest.fixture
def saved(tmp_path):
    artifact.save(tmp_path / "model", manifest(), fitted().estimator, np.array([9, 3, 9, 2**64 - 1], np.uint64))
    return tmp_path / "model"


def is_pickle(content):
    """Tell whether bytes are a pickle: its opcodes can be listed to the end."""
    try:
        return content[:1] == b"\x80" and bool(list(pickletools.genops(content)))
    except (ValueError, IndexError):
        return False


def test_no_file_of_a_model_directory_is_or_holds_a_pickle(saved):
    contents = {path.name: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with zipfile.ZipFile(saved / "model.skops") as parts:
        contents |= {f"model.skops/{name}": parts.read(name) for name in parts.namelist()}
        arrays = [name for name in parts.namelist() if name.endswith(".npy")]
        for name in arrays:
            with parts.open(name) as array:
                np.load(array, allow_pickle=False)
    assert arrays
    assert "model.skops/schema.json" in contents
    assert [
        name for name, content in contents.items() if is_pickle(content) or name.endswith((".pkl", ".joblib"))
    ] == []
    assert b"serialization_format: skops" in contents["MLmodel"]


def test_the_directory_says_what_the_model_is(saved):
    assert Manifest.read(saved) == manifest()
    assert np.load(saved / "keys.npy", allow_pickle=False).tolist() == [3, 9, 2**64 - 1]
    described = (saved / "MLmodel").read_text()
    assert '"type": "double", "name": "width"' in described
    assert f"scikit-learn=={manifest().fingerprint['scikit-learn']}" in (saved / "requirements.txt").read_text()


def test_a_loaded_model_answers_as_the_one_that_was_saved(saved):
    frame, _ = rows(50, seed=1)
    first, loaded = fitted(), artifact.load(saved)
    assert loaded.predict(frame).tolist() == first.predict(frame).tolist()
    assert loaded.rank(frame, 3).tolist() == first.rank(frame, 3).tolist()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda folder: (folder / "zeta.json").unlink(), "not a model directory: .*No such file"),
        (lambda folder: (folder / "zeta.json").write_text("{"), "not a model directory: Input data was truncated"),
        (lambda folder: (folder / "zeta.json").write_text('{"name": "toy"}'), "missing required field `task`"),
        (lambda folder: (folder / "model.skops").unlink(), "model.skops: does not load: FileNotFoundError"),
        (lambda folder: (folder / "model.skops").write_bytes(b"no zip"), "model.skops: does not load: BadZipFile"),
        (lambda folder: os.truncate(folder / "model.skops", 900), "model.skops: does not load: BadZipFile"),
    ],
    ids=["no manifest", "half a manifest", "a manifest without a task", "no model", "no zip", "a torn zip"],
)  # fmt: skip
def test_a_broken_directory_is_permanent(saved, action, words):
    action(saved)
    with pytest.raises(Permanent, match=words):
        artifact.load(saved)


def test_a_directory_that_is_not_there_is_permanent(tmp_path):
    with pytest.raises(Permanent, match="not a model directory"):
        artifact.load(tmp_path / "nowhere")


def test_a_type_that_the_manifest_does_not_trust_is_not_loaded(saved, tmp_path):
    import skops.io

    skops.io.dump(DecisionTreeClassifier().fit(*rows()), saved / "model.skops")
    with pytest.raises(Permanent, match=r"does not load: UntrustedTypesFoundException: .*sklearn\.tree\._tree\.Tree"):
        artifact.load(saved)
    (saved / "zeta.json").write_bytes(msgspec.json.encode(manifest(trusted=["sklearn.tree._tree.Tree"])))
    assert isinstance(artifact.load(saved).estimator, DecisionTreeClassifier)


@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearSVC()])
@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_a_ranking_is_every_class_by_its_score_cut_at_k(estimator, k):
    frame, _ = rows(40, seed=1)
    model = fitted(estimator)
    scores = model.estimator.decision_function(frame[list(FEATURES)])
    expected = model.estimator.classes_[np.argsort(-scores, axis=1)][:, :k]
    assert model.rank(frame, k).tolist() == expected.tolist()
    assert model.rank(frame, k)[:, 0].tolist() == model.predict(frame).tolist()


@pytest.mark.parametrize("estimator", [LogisticRegression(), DecisionTreeClassifier(max_depth=2)])
def test_two_classes_are_ranked_and_scored(estimator):
    frame, _ = rows(40, seed=1)
    model = fitted(estimator, classes=2)
    likely = model.estimator.predict_proba(frame[list(FEATURES)])[:, 1]
    assert model.scores(frame) == pytest.approx(logit(np.clip(likely, 1e-9, 1 - 1e-9)))
    assert np.isfinite(model.scores(frame)).all()
    sure = likely != 0.5
    assert model.rank(frame, 2)[sure].tolist() == [["1", "0"] if one > 0.5 else ["0", "1"] for one in likely[sure]]


def test_columns_are_given_in_the_order_of_training():
    frame, _ = rows(20, seed=1)
    model = fitted()
    more = frame.assign(depth=1)[["height", "depth", "width"]]
    assert model.predict(more).tolist() == model.predict(frame[["width", "height"]]).tolist()


@pytest.mark.parametrize("estimator", [LogisticRegression(), DecisionTreeClassifier()])
def test_scores_want_two_classes(estimator):
    with pytest.raises(ConfigError, match="toy: there are 3 classes"):
        fitted(estimator).scores(rows()[0])


@pytest.mark.parametrize("estimator", [LogisticRegression(), LinearSVC(), DecisionTreeClassifier(max_depth=2)])
@pytest.mark.parametrize("classes", [2, 3])
def test_confidence_is_the_margin_of_the_best_class_over_the_second(estimator, classes):
    frame, _ = rows(40, seed=1)
    model = fitted(estimator, classes)
    inputs = frame[list(FEATURES)]
    if hasattr(estimator, "predict_proba"):
        # A logistic regression's decision function is its log-odds.
        found = np.sort(np.log(np.clip(model.estimator.predict_proba(inputs), 1e-9, 1)), axis=1)
    else:
        found = np.atleast_2d(model.estimator.decision_function(inputs).T).T
        found = np.sort(found if classes > 2 else np.column_stack([np.zeros_like(found), np.abs(found)]), axis=1)
    assert model.confidence(frame) == pytest.approx(found[:, -1] - found[:, -2])
    assert (model.confidence(frame) >= 0).all()


def test_a_rule_has_no_confidence():
    class Rule:
        def predict(self, inputs):
            return np.full(len(inputs), "a", object)

    assert np.isnan(Model(manifest(), Rule()).confidence(rows(3)[0])).tolist() == [True] * 3


def test_each_output_of_a_score_is_answered():
    frame, _ = rows(10, seed=1)
    model = fitted(classes=2)
    assert model.answer(frame, "confidence", 1).tolist() == np.abs(model.scores(frame)).tolist()
    assert model.answer(frame, "labels", 1).tolist() == model.predict(frame).tolist()
    assert model.answer(frame, "scores", 1).tolist() == model.scores(frame).tolist()
    assert model.answer(frame, "ranking", 2).tolist() == model.rank(frame, 2).tolist()


def test_a_retrieval_answers_the_best_of_its_own_ranking():
    class Ranks:
        def rank(self, inputs, k):
            return np.array([["z", "y", "x"][:k]] * len(inputs), object)

    model = Model(manifest("retrieval"), Ranks())
    assert model.predict(rows(2)[0]).tolist() == ["z", "z"]
    assert model.rank(rows(2)[0], 2).tolist() == [["z", "y"]] * 2


@pytest.mark.parametrize(
    ("recorded", "answer", "equal"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a|b", ["a", "b"], True),
        ("", [], True),
        ("a|b", ["b", "a"], False),
        ("a", [1], False),
        ("1", 1, False),
        (1.0, "1.0", False),
        (1.0, 1, True),
        (1.0, 1.0 + 1e-8, True),
        (1.0, 1.001, False),
        (0.0, 1e-13, True),
        (1.0, None, False),
        ("a", None, False),
        (1.0, float("nan"), False),
        (1.0, {"error": "x"}, False),
    ],
)
def test_an_answer_is_golden_when_it_is_the_recorded_one(recorded, answer, equal):
    found = Golden([{"width": 1.0}], [recorded]).differences([answer])
    assert found == ([] if equal else [f"golden row 0 is answered {answer!r}, at training it was {recorded!r}"])


def test_golden_rows_all_want_an_answer_and_each_difference_is_said():
    golden = Golden([{"width": 1.0}] * 3, ["a", "b", "c"])
    assert golden.differences(["a", "b"]) == ["3 golden rows got 2 answers"]
    assert [text.split(" is ")[0] for text in golden.differences(["x", "b", "y"])] == ["golden row 0", "golden row 2"]


def test_the_models_own_code_has_the_same_name_everywhere(tmp_path):
    (tmp_path / "own.py").write_text("class Own:\n    pass\n")
    module = artifact.code("toy-shop", tmp_path / "own.py")
    assert module.Own.__module__ == module.__name__ == "models.toy-shop.own"
    assert sys.modules["models.toy-shop.own"] is module


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def build(:\n", r"own\.py: does not import: SyntaxError"),
        ("import nowhere_to_be_found\n", "does not import: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1 / 0\n", "does not import: ZeroDivisionError"),
        (None, "does not import: FileNotFoundError"),
    ],
)
def test_code_that_does_not_import_is_the_authors_to_mend(tmp_path, text, words):
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(ConfigError, match=words):
        artifact.code("broken", tmp_path / "own.py")
    assert "models.broken.own" not in sys.modules
