"""What several tests build on: a model.yaml, rows that a model can learn, a source that gives them."""

from datetime import datetime, timedelta

import numpy as np
import yaml

from pipeline import config
from pipeline.data import EPOCH, Window, read
from pipeline.tally import Point

VALUES = {
    "name": "toy",
    "owner": "tests",
    "task": "classification",
    "schedule": "0 5 * * *",
    "data": {
        "source": "rows",
        "query": "rows.sql",
        "key": "item_id",
        "time": "at",
        "label": "category",
        "features": ["title", "weight"],
    },
    "evaluation": {"score": "accuracy", "minimum_rows": 20, "slices": ["channel"]},
    "gate": {"baseline": "most_frequent", "window": "4d"},
    "training": {"window": "10d", "seeds": 1},
}
CODE = """
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(params):
    return make_pipeline(make_column_transformer((CountVectorizer(), "title")), LogisticRegression(**params))
"""
WORDS = {"本": "文庫 漫画 雑誌", "家電": "冷蔵庫 洗濯機 掃除機", "文具": "万年筆 消しゴム 鉛筆"}


def model(folder, own=CODE, **changes):
    """Write a model folder ``toy`` below ``folder`` and load it; changes are laid over the sections of VALUES."""
    home = folder / "toy"
    home.mkdir(exist_ok=True)
    values = {
        key: {**VALUES.get(key, {}), **changes[key]} if isinstance(changes.get(key), dict) else changes.get(key, known)
        for key, known in {**VALUES, **changes}.items()
    }
    (home / "model.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    (home / "model.py").write_text(own, encoding="utf-8")
    (home / "rows.sql").write_text("select * from listings where at >= :start and at < :end", encoding="utf-8")
    return config.load(home / "model.yaml")


def listings(first, days, per_day, seed=0, wrong=0.1):
    """Return rows of the days [first, first + days): a share ``wrong`` of them has a category that its title belies."""
    import pandas as pd

    random = np.random.default_rng([seed, first])
    n = days * per_day
    told = random.choice(list(WORDS), n)
    truth = np.where(random.random(n) < wrong, random.choice(list(WORDS), n), told)
    at = [
        datetime.combine(EPOCH, datetime.min.time()) + timedelta(days=first + i // per_day, hours=6) for i in range(n)
    ]
    return pd.DataFrame(
        {
            "item_id": [f"{seed}-{first}-{i}" for i in range(n)],
            "at": at,
            "title": [f"{random.choice(WORDS[word].split())} {random.choice(['新品', '中古'])}" for word in told],
            "weight": random.gamma(2.0, size=n).round(2),
            "channel": random.choice(["app", "web"], n),
            "category": truth,
        }
    ).astype(object)


class Frames:
    """A source that gives the same frames whatever is asked, and remembers what was."""

    def __init__(self, *frames):
        self.frames = frames
        self.asked = []

    def batches(self, query, start, end):
        self.asked.append((query, start, end))
        yield from self.frames


def tidy(settings, *frames, window=None):
    """Return frames as ``data.read`` gives them."""
    return list(read(Frames(*frames), settings, window or Window(0, 10**6)))


def point(day, loss, rows=500, variance=None, days=1):
    """Return a point of a history; by default its variance is that of a share."""
    return Point(day, days, rows, loss, loss * (1 - loss) / rows if variance is None else variance)
