"""Models of the made-up marketplace, as the benches need them: the shipped code of ``type``, on titles of listings."""

import shutil
from pathlib import Path

import yaml

from pipeline import config
from pipeline.config import ModelConfig
from pipeline.settings import ROOT

# A category is root/branch/leaf.
LABELS = {
    "root": "substr(category, 1, instr(category, '/') - 1)",
    "branch": "rtrim(rtrim(category, replace(category, '/', '')), '/')",
}
VALUES = {
    "owner": "bench",
    "task": "classification",
    "schedule": "0 5 * * *",
    "components": ["japanese"],
    "data": {
        "source": "listings",
        "query": "listings.sql",
        "key": "item_id",
        "time": "listed_at",
        "label": "label",
        "features": ["title"],
    },
    "evaluation": {"score": "accuracy", "slices": ["channel"]},
    "degradation": {"smallest_drop": 0.1},
    "training": {"window": "28d", "seeds": 1},
    "gate": {"baseline": "most_frequent"},
}


def add(models: Path, name: str, label: str) -> ModelConfig:
    """Write the folder of a model that answers with a listing's root or branch."""
    folder = models / name
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump({"name": name} | VALUES), encoding="utf-8")
    (folder / "listings.sql").write_text(query(label), encoding="utf-8")
    shutil.copy(ROOT / "models/type/model.py", folder)
    return config.load(folder / "model.yaml")


def query(label: str) -> str:
    """Return the query of such a model."""
    return f"""SELECT item_id, listed_at, title, channel, {LABELS[label]} AS label
FROM listings WHERE listed_at >= :start AND listed_at < :end ORDER BY listed_at"""
