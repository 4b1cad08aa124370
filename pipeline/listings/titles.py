"""Titles as sellers write them: a lead, the condition, brand, model, what it is, attributes, a tail."""

import functools
from dataclasses import dataclass

import numpy as np

from pipeline.listings import catalogue, tree, words

NOUN_SHOWN = {"app": 0.5, "web": 0.7}
"""Chance that a title says what the thing is, by channel; the others rely on brand and model."""
RISKY = 0.008
"""Part of the titles with a phrase that often goes with a violation."""
RISKY_PHRASES = 8
"""How many such phrases are in use in a season ..."""
RISKY_MOVES = 2
"""... and how many of these the next season replaces: sellers move on when a phrase is caught."""
_SIZES = 24


@dataclass(frozen=True)
class Titles:
    """Columns over n titles."""

    text: list[str]
    lead: np.ndarray
    """The selling phrase in front; an empty text where there is none."""
    risky: np.ndarray
    """Whether it has a risky phrase."""


def compose(
    rng: np.random.Generator,
    season: int,
    products: catalogue.Products,
    root: np.ndarray,
    condition: np.ndarray,
    channel: np.ndarray,
) -> Titles:
    """Compose n titles; ``root`` holds rows of tree.roots(), ``condition`` rows of the words' conditions."""
    count, lists = len(root), words.lists()
    lead = words.sometimes(rng, 0.35, words.pick(rng, lists["leads"], count))
    state = words.sometimes(rng, 0.7, _condition_words()[condition, rng.integers(4, size=count)])
    state_first = rng.random(count) < 0.6
    brand, model, noun = _names(rng, products, channel)
    risky = rng.random(count) < RISKY
    parts = (
        lead,
        np.where(state_first, state, ""),
        words.sometimes(rng, 0.25, _publics()[root]),
        brand,
        model,
        words.sometimes(rng, 0.35, words.pick(rng, lists["adjectives"], count)),
        noun,
        words.sometimes(rng, 0.4, words.pick(rng, lists["colours"], count)),
        words.sometimes(rng, 0.45, _size_table()[root, rng.integers(_SIZES, size=count)]),
        np.where(state_first, "", state),
        np.where(risky, words.pick(rng, _risky_phrases(season), count), ""),
        words.sometimes(rng, 0.35, words.pick(rng, lists["tails"], count)),
    )
    return Titles([" ".join(filter(None, row)) for row in zip(*parts, strict=True)], lead, risky)


def _names(
    rng: np.random.Generator, products: catalogue.Products, channel: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return n products' brand, model and noun as a title has them: at least one is there."""
    spelled = np.where(rng.random(len(channel)) < 0.3, products.latin, products.brand)
    brand = words.sometimes(rng, 0.85, spelled)
    model = words.sometimes(rng, 0.8, products.model)
    shown = np.where(channel == "app", NOUN_SHOWN["app"], NOUN_SHOWN["web"])
    nameless = (brand == "") & (model == "")
    return brand, model, words.sometimes(rng, np.where(nameless, 1.0, shown), products.noun)


@functools.cache
def _condition_words() -> np.ndarray:
    """Return (conditions, 4) words."""
    return np.array([row["words"] for row in words.lists()["conditions"].values()], dtype=object)


@functools.cache
def _publics() -> np.ndarray:
    """Return (roots,) words for whom a root's things are, empty where sellers write none."""
    return np.array([root.get("public", "") for root in tree.roots().values()], dtype=object)


@functools.cache
def _size_table() -> np.ndarray:
    """Return (roots, _SIZES) sizes, empty where a root's things have none."""
    sizes = [words.lists()["sizes"][root["sizes"]] or [""] for root in tree.roots().values()]
    return np.array([np.resize(known, _SIZES) for known in sizes], dtype=object)


def _risky_phrases(season: int) -> list[str]:
    phrases = words.lists()["risky"]
    return [phrases[(season * RISKY_MOVES + step) % len(phrases)] for step in range(RISKY_PHRASES)]
