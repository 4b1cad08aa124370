import json

import numpy as np
import pandas as pd
import pytest

from pipeline import artifact, training
from pipeline.checks import Profile
from pipeline.data import DAY, KEY, Window, frame
from pipeline.errors import ConfigError, DataError, Permanent
from pipeline.manifest import Manifest
from tests.parts import CODE, listings, model, tidy

TRAINING = Window(100, 110)
WINDOWS = training.Split(TRAINING, Window(110, 114))
OWN_TYPE = """
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


class Lengths(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X["title"].str.len().to_numpy().reshape(-1, 1)


def build(params):
    return make_pipeline(Lengths(), LogisticRegression())
"""


def collected(config, *frames, window=TRAINING, usual=None):
    return training.rows(iter(tidy(config, *frames, window=window)), config, window, usual)


def train(folder, config, rows, losses=None, commit="abc"):
    """Train in ``folder``; ``losses`` are what the seeds lose on the gate's rows."""
    own = artifact.code(config.name, config.folder / config.code)
    given = iter(losses or [0.1] * config.training.seeds)
    return training.train(config, own, rows, WINDOWS, lambda _: next(given), commit, folder / "model")


@pytest.mark.parametrize(
    ("gate", "window", "expected"),
    [("28d", "180d", ((792, 972), (972, 1000))), ("36h", "1d", ((997, 998), (998, 1000)))],
)
def test_the_gates_days_follow_the_trainings_and_end_where_labels_are_mature(tmp_path, gate, window, expected):
    config = model(tmp_path, gate={"baseline": "most_frequent", "window": gate}, training={"window": window})
    found = training.split(config, 1000)
    assert tuple((one.first, one.end) for one in (found.training, found.gate)) == expected


def test_a_row_of_the_gates_days_never_gets_into_the_training(tmp_path):
    with pytest.raises(DataError, match=r"gives rows outside 1970-04-11\.\.1970-04-20"):
        collected(model(tmp_path), listings(100, 11, 10))


def test_rows_are_the_same_in_whatever_batches_and_order_they_come(tmp_path):
    config = model(tmp_path)
    whole = listings(100, 5, 20)
    shuffled = whole.sample(frac=1, random_state=1)
    rows = collected(config, whole)
    assert rows[DAY].is_monotonic_increasing
    pd.testing.assert_frame_equal(collected(config, shuffled[:33], shuffled[33:]), rows)


def test_unlabelled_rows_and_days_with_bad_data_are_left_out(tmp_path):
    config = model(tmp_path)
    usual = Profile.of(tidy(config, listings(0, 20, 25))[0], config, days=20)
    rows = listings(100, 5, 25)
    rows.loc[:2, "category"] = None
    rows.loc[50:74, "title"] = None
    assert len(collected(config, rows)) == 122
    good = collected(config, rows, usual=usual)
    assert sorted(good[DAY].unique()) == [101, 103, 104]
    assert good["category"].notna().all()


@pytest.mark.parametrize("frames", [(), (listings(100, 1, 19),), (listings(100, 2, 30).assign(category=None),)])
def test_too_few_rows_are_missing_data(tmp_path, frames):
    with pytest.raises(DataError, match=r"labelled rows in the training window 1970-04-11\.\.1970-04-20; at least 20"):
        collected(model(tmp_path), *frames)


@pytest.mark.parametrize(
    ("losses", "seed"),
    [
        ([0.3], 0),
        ([0.1, 0.2], 1),
        ([0.2, 0.1], 0),
        ([0.3, 0.1, 0.2], 2),
        ([0.1, 0.1, 0.1], 1),
        ([0.5, 0.1, 0.2, 0.3, 0.4], 3),
        ([float("nan"), 0.1, 0.2], 2),
        ([float("nan"), float("nan"), 0.2], 0),
    ],
)
def test_the_median_seed_is_kept_never_the_best(losses, seed):
    assert training.median_seed(dict(enumerate(losses))) == seed


def test_the_median_of_the_seeds_is_written_with_what_must_be_remembered(tmp_path):
    config = model(tmp_path, training={"seeds": 3, "window": "10d"})
    rows = collected(config, listings(100, 10, 30))
    made = train(tmp_path, config, rows, losses=[0.3, 0.1, 0.2])
    assert training.record(tmp_path / "model") == made
    assert (made.seed, made.losses) == (2, {"0": 0.3, "1": 0.1, "2": 0.2})
    assert set(made.seconds) == {"0", "1", "2"}
    assert (made.training, made.gate, made.rows) == ("1970-04-11..1970-04-20", "1970-04-21..1970-04-24", 300)
    assert (made.profile.days, made.profile.rows) == (10, 300)
    assert made.baseline.answer == rows["category"].mode()[0]
    keys = np.load(tmp_path / "model" / "keys.npy", allow_pickle=False)
    assert keys.tolist() == sorted(rows[KEY].unique())
    manifest = Manifest.read(tmp_path / "model")
    assert (manifest.name, manifest.task, manifest.commit) == ("toy", "classification", "abc")
    assert manifest.features == {"title": "string", "weight": "number"}
    assert manifest.fingerprint["scikit-learn"]


def test_the_same_rows_give_the_same_model_and_the_same_snapshot(tmp_path):
    config = model(tmp_path)
    whole = listings(100, 10, 30)
    (tmp_path / "again").mkdir()
    first = train(tmp_path, config, collected(config, whole))
    second = train(tmp_path / "again", config, collected(config, whole.sample(frac=1, random_state=0)))
    other = training._snapshot(collected(config, whole.assign(weight=1)))
    assert second.data == first.data != other
    assert Manifest.read(tmp_path / "again" / "model").golden == Manifest.read(tmp_path / "model").golden
    skops = [tmp_path / one / "model.skops" for one in ("model", "again/model")]
    assert (
        artifact.load(skops[0].parent).estimator[-1].coef_.tolist()
        == artifact.load(skops[1].parent).estimator[-1].coef_.tolist()
    )


def test_golden_rows_are_answered_as_on_the_day_of_training(tmp_path):
    config = model(tmp_path, evaluation={"minimum_rows": 5, "score": "accuracy"})
    train(tmp_path, config, collected(config, listings(100, 10, 30)))
    loaded = artifact.load(tmp_path / "model")
    golden = loaded.manifest.golden
    assert len(golden.rows) == len(golden.predictions) == training.GOLDEN_ROWS
    assert set(golden.rows[0]) == {"title", "weight"}
    answers = loaded.predict(frame(golden.rows, loaded.manifest.features)).tolist()
    assert golden.differences(answers) == []
    assert len(set(answers)) == 3


def test_few_rows_are_all_golden(tmp_path):
    config = model(tmp_path, evaluation={"minimum_rows": 5, "score": "accuracy"})
    train(tmp_path, config, collected(config, listings(100, 1, 12)))
    assert len(Manifest.read(tmp_path / "model").golden.rows) == 12


def test_a_loss_that_is_not_defined_is_left_out_of_the_record(tmp_path):
    config = model(tmp_path, training={"seeds": 2})
    made = train(tmp_path, config, collected(config, listings(100, 10, 30)), losses=[float("nan"), 0.2])
    assert made.losses == {"1": 0.2}
    assert training.record(tmp_path / "model") == made


def test_coefficients_are_stored_by_column_and_stay_so(tmp_path):
    code = CODE.replace("LogisticRegression(**params)", "SGDClassifier()").replace(
        "LogisticRegression", "SGDClassifier"
    )
    config = model(tmp_path, own=code)
    train(tmp_path, config, collected(config, listings(100, 10, 30)))
    coefficients = artifact.load(tmp_path / "model").estimator[-1].coef_
    assert coefficients.shape[0] == 3
    assert coefficients.flags.f_contiguous
    assert not coefficients.flags.c_contiguous


@pytest.mark.parametrize("seed", [0, 7])
def test_every_random_state_is_the_seed(tmp_path, seed):
    code = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline


def build(params):
    words = make_column_transformer((CountVectorizer(), "title"))
    return make_pipeline(words, BaggingClassifier(SGDClassifier(), n_estimators=2, random_state=99))
"""
    config = model(tmp_path, own=code)
    rows = collected(config, listings(100, 3, 30))
    features = {"title": "string", "weight": "number"}
    fitted = training.fit(config, artifact.code("toy", config.folder / "model.py"), rows, features, seed)
    found = {key: value for key, value in fitted.get_params().items() if key.endswith("random_state")}
    assert found == {"baggingclassifier__random_state": seed, "baggingclassifier__estimator__random_state": seed}


def test_label_sets_are_learnt_and_answered_as_texts(tmp_path):
    code = CODE.replace("LogisticRegression(**params)", "OneVsRestClassifier(LogisticRegression())").replace(
        "import make_pipeline\n", "import make_pipeline\nfrom sklearn.multiclass import OneVsRestClassifier\n"
    )
    config = model(tmp_path, own=code, task="multilabel", evaluation={"score": "micro_f1"})
    whole = listings(100, 10, 30, wrong=0)
    whole["category"] = [
        f"{category}|新" if "新品" in title else category for category, title in whole[["category", "title"]].values
    ]
    train(tmp_path, config, collected(config, whole))
    loaded = artifact.load(tmp_path / "model")
    asked = frame(
        [{"title": "鉛筆 新品", "weight": 1}, {"title": "鉛筆 中古", "weight": None}], loaded.manifest.features
    )
    assert loaded.predict(asked).tolist() == ["文具|新", "文具"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\n", "build() and fit() failed: AttributeError"),
        ("def build(params):\n    raise KeyError('depth')\n", "build() and fit() failed: KeyError: 'depth'"),
        ("def build(params):\n    return 5\n", "build() and fit() failed: AttributeError: 'int'"),
        (CODE.replace('"title"', '"name"'), "build() and fit() failed: ValueError: Some column names"),
    ],
)
def test_a_model_that_does_not_fit_is_the_authors_to_mend(tmp_path, code, words):
    config = model(tmp_path, own=code)
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, config, collected(config, listings(100, 10, 30)))
    assert str(caught.value).startswith(f"{config.folder / 'model.py'}: {words}")


def test_a_type_of_the_models_own_must_be_trusted_by_name(tmp_path):
    config = model(tmp_path, own=OWN_TYPE)
    rows = collected(config, listings(100, 10, 30))
    with pytest.raises(ConfigError, match=r"training.trusted: the model holds \['models.toy.model.Lengths'\]"):
        train(tmp_path, config, rows)
    assert not (tmp_path / "model" / "zeta.json").exists()
    trusting = model(tmp_path, own=OWN_TYPE, training={"trusted": ["models.toy.model.Lengths"]})
    (tmp_path / "second").mkdir()
    train(tmp_path / "second", trusting, rows)
    assert (
        artifact.load(tmp_path / "second" / "model", trusting.folder / "model.py")
        .manifest.trusted[-1]
        .endswith("Lengths")
    )


def test_a_model_that_no_file_without_pickle_can_hold_is_the_authors_to_mend(tmp_path):
    code = CODE.replace("CountVectorizer()", "CountVectorizer(analyzer=lambda text: text.split())")
    config = model(tmp_path, own=code, training={"trusted": ["models.toy.model.<lambda>"]})
    with pytest.raises(ConfigError, match=r"toy: the model cannot be stored as skops: .*not defined at the top level"):
        train(tmp_path, config, collected(config, listings(100, 10, 30)))


def test_a_training_record_that_is_broken_is_permanent(tmp_path):
    for text in (None, "{", json.dumps({"training": "x"})):
        if text is not None:
            (tmp_path / "training.json").write_text(text)
        with pytest.raises(Permanent, match="no training record"):
            training.record(tmp_path)
