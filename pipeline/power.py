"""Power: what a config can promise for a model's traffic, told before it has run."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pipeline import calibration, ledger, noise
from pipeline.config import ModelConfig
from pipeline.data import Window, whole_days
from pipeline.detectors import DAYS_A_YEAR, FAST, FEWEST_REFERENCE_POINTS, SHARES, chance

CHAMPIONS = 500
NEVER = math.inf
OFTEN = 0.8
"""How often the gate is to see a gain that is there."""


@dataclass(frozen=True)
class Power:
    """``pooled``: days a point; ``delay``: days until half of all drops are found, NEVER when they are not in a year;
    ``false_alarms``: the share of unchanged years with one; ``gate_rows``: needed to see a gain as large as the drop,
    of ``held`` that the gate's window has."""

    pooled: int
    delay: float
    false_alarms: float
    gate_rows: int
    held: int


def expected(row_variance: float, rows_a_day: float, config: ModelConfig, drop: float) -> Power | None:
    """Simulate first champions, whose true loss does not wander by itself: of one that does, drops are found later.

    ``row_variance`` is that of one row's loss, ``drop`` the one to find, in units of the score. None when the gate's
    window has too few points for a reference.
    """
    pooled = max(1, math.ceil(config.evaluation.minimum_rows / rows_a_day))
    references, a_year = whole_days(config.gate.window) // pooled, round(DAYS_A_YEAR / pooled)
    if references < FEWEST_REFERENCE_POINTS or a_year < 1:
        return None
    units = drop / math.sqrt(max(row_variance, np.finfo(float).tiny) / (rows_a_day * pooled))
    delay, alarms = _simulated(units, references, a_year, chance(config.degradation))
    window = Window(0, whole_days(config.gate.window))
    first = ledger.look(window, [], 1 - config.gate.confidence)
    # Of two models whose errors correlate by a half, the difference varies as much as either.
    rows = row_variance * (ndtri(1 - first.alpha) + ndtri(OFTEN)) ** 2 / drop**2
    return Power(pooled, pooled * delay, alarms, math.ceil(rows), round(rows_a_day * window.days))


def _simulated(drop: float, references: int, points: int, alpha: float) -> tuple[float, float]:
    """Return after how many points the median drop is found, and how often there is an alarm without one."""
    losses = np.random.default_rng(0).standard_normal((references + points, CHAMPIONS), dtype=np.float32)
    known, since = losses[:references], losses[references:]
    weights = noise.weights(noise.periodogram(known.T), 1, references, drop)
    level = calibration.threshold(weights, drop, references, points, SHARES[FAST] * alpha)
    alarms = calibration.cusum(since, known.mean(axis=0), drop) > level
    found = calibration.cusum(since + np.float32(drop), known.mean(axis=0), drop) > level
    first = np.where(found.any(axis=0), found.argmax(axis=0) + 1.0, NEVER)
    return float(np.quantile(first, 0.5, method="higher")), float(alarms.any(axis=0).mean())
