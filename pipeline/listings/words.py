"""The words of titles: the lists of words.yaml, and brands and models coined from its syllables."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import yaml

_LETTERS = np.array(list("ABCDEFGHJKLMNPRSTUVWXYZ"), dtype=object)


@functools.cache
def lists() -> dict[str, Any]:
    """Return words.yaml."""
    return yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))


def pick(rng: np.random.Generator, words: list[str], count: int) -> np.ndarray:
    """Draw (count,) words, each with the same chance."""
    return np.array(words, dtype=object)[rng.integers(len(words), size=count)]


def sometimes(rng: np.random.Generator, chance: float | np.ndarray, words: np.ndarray) -> np.ndarray:
    """Keep each of n words with its chance; the others become empty texts."""
    return np.where(rng.random(len(words)) < chance, words, "")


def coin(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coin (count,) words of three syllables; return them in katakana and in Latin letters."""
    kana, latin = _syllables()
    drawn = rng.integers(len(kana), size=(3, count))
    spelled = [word.capitalize() for word in latin[drawn].sum(axis=0)]
    return kana[drawn].sum(axis=0), np.array(spelled, dtype=object)


def codes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count,) model codes such as 'LX-480'."""
    letters = _LETTERS[rng.integers(len(_LETTERS), size=(2, count))].sum(axis=0)
    return letters + "-" + rng.integers(10, 1000, size=count).astype(str).astype(object)


@functools.cache
def _syllables() -> np.ndarray:
    """Return (2, m) syllables, in katakana and in Latin letters."""
    return np.array([pair.split(":") for pair in lists()["syllables"].split()], dtype=object).T
