"""The stream of listings: one frame a day, each made from the seed, the day and the volume alone."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from pipeline.listings import catalogue, titles, tree, words

if TYPE_CHECKING:
    from pandas import DataFrame

WEEK = (0.93, 0.92, 0.93, 0.95, 1.0, 1.12, 1.15)
"""Volume from Monday to Sunday against the mean."""
HOURS = np.array([3, 4, 5, 5, 4, 4, 4, 5, 6, 6, 7, 8, 10, 11, 9, 6, 4, 2, 1, 1, 1, 2, 3, 3]) / 114
"""Share of each UTC hour: in Japan people list in the evening."""
APP = 0.7
"""Part of the listings made in the app."""
INFLATION = 0.05
"""Of all prices, a year."""
MISFILED = 0.03
"""Part of the listings that sellers put into the neighbouring leaf; no model can know."""
MATURES = (1.0, 2.0)
"""Days after which a label arrives, at least and at most."""
VIOLATION = (0.0006, 0.55)
"""Chance of a violation without and with a risky phrase: about 0.5 % over all."""


def rows(start: date, end: date, per_day: int, seed: int) -> "Iterator[DataFrame]":
    """Yield one frame for each UTC day from ``start`` up to, not with, ``end``, of about ``per_day`` rows.

    Columns: item_id (text), listed_at and labelled_at (UTC, whole seconds), title, channel ('app', 'web'),
    category ('root/branch/leaf'), price (yen), weight (grams), tags ('a|b', in order), violation (0 or 1).
    Rows are in order of time. ValueError for a negative ``per_day`` or ``seed``.
    """
    for offset in range((end - start).days):
        yield _day(start + timedelta(days=offset), per_day, seed)


def _day(day: date, per_day: int, seed: int) -> "DataFrame":
    import pandas as pd

    rng = np.random.default_rng([seed, 4, day.toordinal(), per_day])
    count = int(rng.poisson(per_day * WEEK[day.weekday()]))
    season = catalogue.season_of(day)
    leaves = tree.leaves(seed, season)
    products = catalogue.draw(rng, seed, day, count)
    condition = rng.choice(len(_conditions()), size=count, p=[row["share"] for row in _conditions()])
    channel = np.where(rng.random(count) < APP, "app", "web").astype(object)
    title = titles.compose(rng, season, products, leaves.root[products.leaf], condition, channel)
    listed = _times(rng, day, count)
    labelled = listed + (rng.uniform(*MATURES, size=count) * 86400).astype("timedelta64[s]")
    filed = (products.leaf + (rng.random(count) < MISFILED)) % len(leaves.category)
    return pd.DataFrame(
        {
            "item_id": [f"{day:%Y%m%d}-{number:07d}" for number in range(count)],
            "listed_at": pd.DatetimeIndex(listed, tz="UTC"),
            "labelled_at": pd.DatetimeIndex(labelled, tz="UTC"),
            "title": title.text,
            "channel": channel,
            "category": leaves.category[filed],
            "price": _prices(rng, day, products, condition),
            "weight": np.maximum(5, products.weight * rng.lognormal(sigma=0.1, size=count)).astype(int),
            "tags": _tags(rng, products, condition, title.lead),
            "violation": (rng.random(count) < np.array(VIOLATION)[title.risky.astype(int)]).astype(int),
        }
    )


def _conditions() -> list[dict]:
    return list(words.lists()["conditions"].values())


def _times(rng: np.random.Generator, day: date, count: int) -> np.ndarray:
    """Return (count,) datetime64[s] of a UTC day, in order."""
    seconds = rng.choice(24, size=count, p=HOURS) * 3600 + rng.integers(3600, size=count)
    return np.datetime64(day, "s") + np.sort(seconds).astype("timedelta64[s]")


def _prices(rng: np.random.Generator, day: date, products: catalogue.Products, condition: np.ndarray) -> np.ndarray:
    """Return n prices, rounded as sellers do: to 10 yen below 1,000, else to 100; 300 yen at least."""
    years = day.year + (day.timetuple().tm_yday - 1) / 365.25 - tree.FIRST_SEASON / 4
    left = np.array([row["price"] for row in _conditions()])[condition]
    yen = products.price * left * (1 + INFLATION) ** years * rng.lognormal(sigma=0.15, size=len(left))
    step = np.where(yen < 1000, 10, 100)
    return np.maximum(300, np.round(yen / step) * step).astype(int)


def _tags(rng: np.random.Generator, products: catalogue.Products, condition: np.ndarray, lead: np.ndarray) -> list[str]:
    """Return n tag sets such as 'ギフト|美品|送料無料'; an empty text where there is none."""
    states = np.array(list(words.lists()["conditions"]), dtype=object)[condition]
    free = (lead == "【送料無料】") | (rng.random(len(lead)) < 0.05)
    parts = (
        words.sometimes(rng, 0.8, products.theme),
        words.sometimes(rng, 0.9, states),
        np.where(free, "送料無料", ""),
    )
    return ["|".join(sorted(filter(None, row))) for row in zip(*parts, strict=True)]
