"""The catalogue: which products are on sale on a day, and how popular each is."""

import functools
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.listings import tree, words
from pipeline.listings.columns import Columns

NEW_PRODUCTS = 2
"""Products launched in each leaf each season."""
HALF_LIFE = 180
"""Days in which a product loses half its popularity."""
SEASONS_ON_SALE = 8
NEW_BRAND = 0.08
"""Part of the new products whose brand nobody has seen before."""
NEW_WORD = 0.15
"""Part of the new products that sellers call by the season's new word for the leaf, not by its name."""
BRANDS = 12
"""Brands of a branch; neighbouring leaves favour different ones."""


@dataclass(frozen=True)
class Products(Columns):
    """Products on sale."""

    leaf: np.ndarray
    """Row of the season's tree.Leaves."""
    brand: np.ndarray
    latin: np.ndarray
    """The brand in katakana and in Latin letters."""
    model: np.ndarray
    noun: np.ndarray
    """What a title calls it."""
    theme: np.ndarray
    """The tag that the product itself brings."""
    price: np.ndarray
    weight: np.ndarray
    """Medians: yen at the start of tree.FIRST_SEASON when new, and grams."""
    popularity: np.ndarray
    """At its height, against others."""
    launched: np.ndarray
    """The day, as date.toordinal()."""


def season_of(day: date) -> int:
    """Return the number of a day's season: year * 4 + quarter (0 to 3)."""
    return day.year * 4 + (day.month - 1) // 3


def draw(rng: np.random.Generator, seed: int, day: date, count: int) -> Products:
    """Draw the products of ``count`` listings of a day, by their popularity on that day.

    Popularity rises in a product's first two weeks and halves every HALF_LIFE days.
    """
    products = _on_sale(seed, season_of(day))
    age = day.toordinal() - products.launched
    popularity = products.popularity * np.clip((age + 1) / 14, 0, 1) * 0.5 ** (age / HALF_LIFE)
    steps = np.cumsum(popularity)
    return products.take(np.searchsorted(steps, rng.random(count) * steps[-1], side="right"))


@functools.lru_cache(maxsize=2)
def _on_sale(seed: int, season: int) -> Products:
    return Products.joined(_launched(seed, launch) for launch in range(season - SEASONS_ON_SALE + 1, season + 1))


@functools.lru_cache(maxsize=SEASONS_ON_SALE + 1)
def _launched(seed: int, season: int) -> Products:
    """Return the products of one season, leaf by leaf."""
    leaves = tree.leaves(seed, season)
    rng = np.random.default_rng([seed, 2, season])
    leaf = np.repeat(np.arange(len(leaves.noun)), NEW_PRODUCTS)
    count = len(leaf)
    brand, latin, dearness = _brands(rng, seed, leaf, leaves.branch[leaf])
    new_words = words.coin(rng, len(leaves.noun))[0]
    themes = _theme_table()
    spread = rng.lognormal(sigma=[[0.25], [0.25], [0.7]], size=(3, count))
    first, after = (date(one // 4, one % 4 * 3 + 1, 1).toordinal() for one in (season, season + 1))
    return Products(
        leaf=leaf,
        brand=brand,
        latin=latin,
        model=_models(rng, count),
        noun=np.where(rng.random(count) < NEW_WORD, new_words[leaf], leaves.noun[leaf]),
        theme=themes[leaves.root[leaf], rng.integers(themes.shape[1], size=count)],
        price=leaves.price[leaf] * dearness * spread[0],
        weight=leaves.weight[leaf] * spread[1],
        popularity=leaves.popularity[leaf] * spread[2],
        launched=rng.integers(first, after, size=count),
    )


def _brands(rng: np.random.Generator, seed: int, leaf: np.ndarray, branch: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return n products' brands in katakana, in Latin letters, and each one's price against others."""
    kana, latin, dearness = _brand_table(seed)
    known = branch, (leaf + rng.geometric(0.35, size=len(leaf))) % BRANDS
    coined = words.coin(rng, len(leaf))
    new = rng.random(len(leaf)) < NEW_BRAND
    return np.where(new, coined[0], kana[known]), np.where(new, coined[1], latin[known]), dearness[known]


@functools.lru_cache(maxsize=4)
def _brand_table(seed: int) -> tuple[np.ndarray, ...]:
    """Return, each as (branches, BRANDS), what _brands returns of known brands."""
    shape = sum(len(root["branches"]) for root in tree.roots().values()), BRANDS
    rng = np.random.default_rng([seed, 3])
    kana, latin = words.coin(rng, shape[0] * shape[1])
    return kana.reshape(shape), latin.reshape(shape), rng.lognormal(sigma=0.35, size=shape)


def _models(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count,) model names: a series word, a code, or both."""
    series, codes = words.coin(rng, count)[0], words.codes(rng, count)
    styles = np.array([series, codes, series + " " + codes])
    return styles[rng.integers(3, size=count), np.arange(count)]


@functools.cache
def _theme_table() -> np.ndarray:
    """Return (roots, 8) themes."""
    return np.array([np.resize(root["themes"], 8) for root in tree.roots().values()], dtype=object)
