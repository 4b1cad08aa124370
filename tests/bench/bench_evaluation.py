"""An evaluation of a million rows, against a bare loop that reads, tokenises and predicts the same rows in the same run.

python -m tests.bench.bench_evaluation [ROWS [REPEATS]]
"""

import multiprocessing
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import artifact, config, data, evaluation, listings, scores, training
from pipeline.adapters.batch import Batch
from pipeline.adapters.sql import BATCH_ROWS, SqlSource
from pipeline.config import ModelConfig
from pipeline.data import Window
from pipeline.evaluation import Subject
from pipeline.settings import ROOT

SCORES = ("accuracy", "macro_f1")
LIMIT_MIB = 1024
FIRST = date(2025, 1, 1)
PER_DAY = 20_000
QUERY = """
SELECT item_id, listed_at, title, channel, rtrim(rtrim(category, replace(category, '/', '')), '/') AS branch
FROM listings WHERE listed_at >= :start AND listed_at < :end ORDER BY listed_at
"""
"""A category is root/branch/leaf."""
VALUES = {
    "name": "branch",
    "owner": "bench",
    "task": "classification",
    "schedule": "0 5 * * *",
    "components": ["japanese"],
    "data": {
        "source": "listings",
        "query": "branch.sql",
        "key": "item_id",
        "time": "listed_at",
        "label": "branch",
        "features": ["title"],
    },
    "training": {"window": "1d", "seeds": 1},
    "evaluation": {"score": "accuracy", "slices": ["channel"]},
    "gate": {"baseline": "most_frequent"},
}


def prepare(folder: Path, rows: int) -> None:
    """Write the listings, the model's folder, and a model of the first day's titles (the shipped code of ``type``)."""
    end = FIRST + timedelta(days=1 + -(-rows // PER_DAY))
    listings.write(f"sqlite:///{folder}/listings.db", FIRST, end, PER_DAY, seed=7)
    home = folder / "app/models/branch"
    home.mkdir(parents=True)
    (folder / "app/pipeline").symlink_to(ROOT / "pipeline")
    (home / "model.yaml").write_text(yaml.safe_dump(VALUES), encoding="utf-8")
    (home / "branch.sql").write_text(QUERY, encoding="utf-8")
    shutil.copy(ROOT / "models/type/model.py", home)
    settings, first = config.load(home / "model.yaml"), window(1)
    windows = training.Split(first, Window(first.end, first.end + 1))
    known = training.rows(data.read(source(folder), settings, first), settings, first, None)
    own = artifact.code("branch", home / "model.py")
    training.train(settings, own, known, windows, lambda model: 0.0, None, folder / "model")


def window(days: int, after: int = 0) -> Window:
    """Return ``days`` days from so many days after FIRST on."""
    first = (FIRST - data.EPOCH).days + after
    return Window(first, first + days)


def source(folder: Path) -> SqlSource:
    """Return the listings."""
    return SqlSource(f"sqlite:///{folder}/listings.db")


def evaluate(folder: Path, score_name: str, days: int) -> int:
    """Evaluate as a morning does; return how many rows."""
    settings, read = config.load(folder / "app/models/branch/model.yaml"), window(days, 1)
    score, directory = scores.get(score_name), folder / "model"
    seen = np.load(directory / "keys.npy", allow_pickle=False)
    with Batch.of(directory, folder / "app") as batch:
        subject = Subject(artifact.manifest(directory).features, batch.predict)
        rows = data.read(source(folder), settings, read)
        scored = evaluation.score_rows(rows, {"": subject}, score, settings, seen, resample=True)
        reference = training.record(directory).profile
        found = evaluation.evaluate(scored.tallies[""], scored.profiles, reference, settings, read.first, read)
        return found.rows, peak_mib()
