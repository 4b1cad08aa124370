"""The category tree: the leaves of categories.yaml, and those that open season by season."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.listings import words
from pipeline.listings.columns import Columns

FIRST_SEASON = 2020 * 4
"""Seasons are numbered year * 4 + quarter (0 to 3). Before this one the tree is that of the file."""
NEW_LEAVES = 3
"""Leaves that open each season."""


@dataclass(frozen=True)
class Leaves(Columns):
    """A leaf keeps its row for ever: new ones are appended."""

    category: np.ndarray
    """The label: 'root/branch/leaf'."""
    noun: np.ndarray
    """What a title calls it: the leaf's own name."""
    root: np.ndarray
    branch: np.ndarray
    """Rows of the file's roots and branches."""
    price: np.ndarray
    weight: np.ndarray
    """Medians: yen at the start of FIRST_SEASON when new, and grams."""
    popularity: np.ndarray


@functools.cache
def roots() -> dict[str, Any]:
    """Return categories.yaml: root -> public, sizes, themes, branches."""
    return yaml.safe_load(Path(__file__).with_name("categories.yaml").read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=32)
def leaves(seed: int, season: int) -> Leaves:
    """Return the leaves that are open in a season."""
    return Leaves.joined([_written(seed), *(_opened(seed, opened) for opened in range(FIRST_SEASON, season + 1))])


@functools.lru_cache(maxsize=4)
def _written(seed: int) -> Leaves:
    """Return the leaves of the file, their prices and weights spread around those of the branch."""
    branches = [
        (root, f"{name}/{branch}", row)
        for root, (name, content) in enumerate(roots().items())
        for branch, row in content["branches"].items()
    ]
    flat = [
        (f"{path}/{noun}", noun, root, number, row["price"], row["weight"])
        for number, (root, path, row) in enumerate(branches)
        for noun in row["leaves"].split()
    ]
    category, noun, root, branch, price, weight = (np.array(column) for column in zip(*flat, strict=True))
    spread = np.random.default_rng([seed, 0]).lognormal(sigma=[[0.35], [0.35], [0.7]], size=(3, len(flat)))
    texts = category.astype(object), noun.astype(object)
    return Leaves(*texts, root, branch, price * spread[0], weight * spread[1], spread[2])


def _opened(seed: int, season: int) -> Leaves:
    """Return a season's new leaves: a coined kind of what an old leaf of the same branch holds."""
    rng = np.random.default_rng([seed, 1, season])
    old = _written(seed)
    parent = old.take(rng.choice(len(old.noun), size=NEW_LEAVES, replace=False))
    noun = words.coin(rng, NEW_LEAVES)[0] + parent.noun
    above = np.array([category.rpartition("/")[0] for category in parent.category], dtype=object)
    own = above + "/" + noun, noun
    return Leaves(*own, parent.root, parent.branch, parent.price, parent.weight, parent.popularity)
