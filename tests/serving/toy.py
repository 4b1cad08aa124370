"""Small real models, laid out as unpacked images: app/ with the code, model/ with the model directory."""

import textwrap
from pathlib import Path

import msgspec
import numpy as np

from pipeline import artifact, fingerprint
from pipeline.artifact import Model
from pipeline.components.japanese import tokens
from pipeline.components.labels import LabelSets
from pipeline.manifest import Golden, Manifest

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS = {
    "文具": ["青い万年筆", "新品のボールペン十本", "大学ノート五冊セット", "消しゴムと鉛筆"],
    "家電": ["中古の冷蔵庫", "一人用の電子レンジ", "新品のドライヤー", "静かな洗濯機"],
    "本": ["夏目漱石の文庫本", "漫画全巻セット", "英語の参考書", "料理の本と雑誌"],
}
TITLES = [title for group in GROUPS.values() for title in group]
LABELS = [label for label, group in GROUPS.items() for _ in group]
SLOW = """
    import time

    from sklearn.base import BaseEstimator


    class Slow(BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = True
            return self

        def predict(self, X):
            seconds = X["seconds"].to_numpy()
            if (seconds < 0).any():
                raise ArithmeticError("time runs forward")
            time.sleep(seconds.max())
            return seconds


    def build(params):
        return Slow()
    """
SLOW_YAML = """
    name: slow
    owner: tests
    task: regression
    schedule: "0 5 * * *"
    code: sleeper.py
    data: {source: rows, query: rows.sql, key: id, time: at, label: slept, features: [seconds]}
    evaluation: {score: mae}
    gate: {baseline: median}
    """


def titles(root, version):
    """Classify titles; the labels tell the version: 本@1."""
    from sklearn.linear_model import LogisticRegression

    labels = np.array([f"{label}@{version}" for label in LABELS])
    estimator = _fitted(LogisticRegression(C=100), [{"title": title} for title in TITLES], labels)
    return _image(root, "titles", "classification", ["japanese"], estimator, [{"title": t} for t in TITLES[::3]])


def tags(root):
    """Give a title any number of labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    rows = [{"title": title} for title in TITLES]
    labels = [f"新品|{label}" if "新品" in title else label for title, label in zip(TITLES, LABELS, strict=True)]
    classifier = LabelSets(OneVsRestClassifier(LogisticRegression(C=100)))
    estimator = _fitted(classifier, rows, np.array(labels, dtype=object))
    return _image(root, "tags", "multilabel", ["japanese"], estimator, rows[:3])


def prices(root):
    """Estimate a price from a title and a weight that may be missing."""
    from sklearn.tree import DecisionTreeRegressor

    rows = [{"title": title, "weight": float(len(title))} for title in TITLES]
    estimator = _fitted(DecisionTreeRegressor(random_state=0), rows, np.arange(len(rows)) * 100.0)
    trusted = ["sklearn.tree._tree.Tree"]
    return _image(root, "prices", "regression", ["japanese"], estimator, rows[:3], trusted)


def slow(root):
    """Sleep as many seconds as a request says, by a class of the model's own; a negative number fails."""
    folder = root / "app" / "models" / "slow"
    folder.mkdir(parents=True)
    (folder / "sleeper.py").write_text(textwrap.dedent(SLOW))
    (folder / "model.yaml").write_text(textwrap.dedent(SLOW_YAML))
    (folder / "rows.sql").write_text("select :start, :end")
    estimator = artifact.code("slow", folder / "sleeper.py").build({}).fit(None, None)
    return _image(root, "slow", "regression", [], estimator, [{"seconds": 0.0}], ["models.slow.sleeper.Slow"])


def spoil(root, **changes):
    """Change the manifest of an image as no training would have written it."""
    path = root / "model" / "zeta.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(Manifest.read(root / "model"), **changes)))
    return root


def _fitted(classifier, rows, labels):
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = (TfidfVectorizer(tokenizer=tokens, token_pattern=None), "title")
    columns = make_column_transformer(words, remainder="passthrough", sparse_threshold=0)
    return make_pipeline(columns, classifier).fit(pd.DataFrame(rows), labels)


def _image(root, name, task, components, estimator, golden, trusted=()):
    import pandas as pd

    features = {name: "string" if isinstance(value, str) else "number" for name, value in golden[0].items()}
    described = Manifest(
        name, task, features, components, fingerprint.current(components), Golden([], []),
        [*artifact.TRUSTED, *trusted], None,
    )  # fmt: skip
    answers = Model(described, estimator).predict(pd.DataFrame(golden)).tolist()
    (root / "app").mkdir(parents=True, exist_ok=True)
    (root / "app" / "pipeline").symlink_to(REPOSITORY / "pipeline")
    described = msgspec.structs.replace(described, golden=Golden(golden, answers))
    artifact.save(root / "model", described, estimator, np.array([], dtype=np.uint64))
    return root
