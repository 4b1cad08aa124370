"""Power: what a config can promise for a model's traffic, simulated before it has run, and what would promise more."""

import bisect
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from pipeline import alarms, history, ledger
from pipeline.config import ModelConfig, written
from pipeline.data import Window, whole_days
from pipeline.detectors import DAYS_A_YEAR, FEWEST_REFERENCE_POINTS, SLICES, STALE, chance, shares

CHAMPIONS, YEARS = 300, 500
NEVER = math.inf
OFTEN = 0.8
"""How often the gate is to see a gain that is there."""
_SOON = 7
"""Within how many days a drop is to be found; more where the rows of one evaluation are of more days."""
_LARGER = (1.25, 1.6, 2, 2.5, 3.2, 4, 5)
# A remedy that costs something else has to save as much of the delay.
_SAVED = 1 / 4
_HOPELESS = (
    "; neither a drop five times as large nor twice the gate.window or the false alarms makes it much sooner: it takes "
    "more labelled rows"
)
_OFTEN = "false_alarms_per_year"


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


def told(row_variance: float, rows_a_day: float, config: ModelConfig) -> Iterator[tuple[bool, str]]:
    """Yield what is promised, sentence by sentence, each after whether it is enough; if not, it has what would be.

    ``row_variance`` is that of one row's loss, in units of the score.
    """
    if (promised := expected(row_variance, rows_a_day, config)) is None:
        yield False, _no_reference(rows_a_day, config)
        return
    yield _in_time(promised, row_variance, rows_a_day, config)
    alarm = f"a false alarm in {promised.false_alarms:.1%} of {YEARS:,} simulated years without any drop"
    yield True, f"{alarm}; {chance(config.degradation):.1%} are allowed"
    gain = f"a gain of {config.degradation.smallest_drop:g}"
    needed = f"{gain} takes {promised.gate_rows:,} rows to be seen four times of five"
    if promised.gate_rows <= promised.held:
        yield True, f"{needed}; the gate has {promised.held:,}"
    else:
        days = math.ceil(promised.gate_rows / rows_a_day)
        # Rounded to two digits it is still no less than what the rows held are enough for.
        seen = _two_digits(1.05 * config.degradation.smallest_drop * math.sqrt(promised.gate_rows / promised.held))
        remedies = f"lengthen gate.window to {days}d or raise degradation.smallest_drop to {seen:g}"
        yield False, f"{needed}, and the gate has {promised.held:,}: {remedies}"


def expected(row_variance: float, rows_a_day: float, config: ModelConfig) -> Power | None:
    """Simulate first champions, whose true loss does not wander by itself: of one that does, drops are found later.

    What slices and a control find besides, or sooner, is not simulated; of the false alarms they are taken to make all
    that is theirs. None when the gate's window has too few points for a reference.
    """
    if (watch := _watch(row_variance, rows_a_day, config)) is None:
        return None
    drop, window = config.degradation.smallest_drop, Window(0, whole_days(config.gate.window))
    first = ledger.look(window, [], 1 - config.gate.confidence)
    # Of two models whose errors correlate by a half, the difference varies as much as either.
    rows = row_variance * (ndtri(1 - first.alpha) + ndtri(OFTEN)) ** 2 / drop**2
    held = round(rows_a_day * window.days)
    return Power(watch.pooled, watch.delay(DAYS_A_YEAR), watch.false_alarms(), math.ceil(rows), held)


@dataclass(frozen=True)
class _Watch:
    """What looks for a drop: its size in units of a point's noise, ``pooled`` days a point, the points of a reference
    and of a year, and what each detector has of a year's false alarms."""

    drop: float
    pooled: int
    references: int
    a_year: int
    alpha: dict[str, float]

    def delay(self, within: float) -> float:
        """Return after how many days half of all drops are found, NEVER when that is not within so many."""
        points = max(min(self.a_year, int(within // self.pooled)), 1)
        found = self._alarms(points, np.random.default_rng(0), CHAMPIONS, self.drop)
        first = np.where(found.any(axis=0), found.argmax(axis=0) + 1.0, NEVER)
        return self.pooled * float(np.quantile(first, 0.5, method="higher"))

    def false_alarms(self) -> float:
        """Return in what share of years there is one."""
        others = self.alpha.get(SLICES, 0.0) + self.alpha.get(STALE, 0.0)
        return others + float(self._alarms(self.a_year, np.random.default_rng(1), YEARS, 0.0).any(axis=0).mean())

    def _alarms(self, points: int, random: np.random.Generator, number: int, drop: float) -> np.ndarray:
        losses = random.standard_normal((self.references + points, number))
        losses[self.references :] += drop
        found = alarms.of(losses, self.references, self.drop, self.a_year, self.alpha, self.pooled == 1)
        return np.logical_or.reduce([*found.values()])


def _watch(row_variance: float, rows_a_day: float, config: ModelConfig) -> _Watch | None:
    drop, pooled = config.degradation.smallest_drop, _pooled(rows_a_day, config)
    references = whole_days(config.gate.window) // pooled
    if references < FEWEST_REFERENCE_POINTS:
        return None
    unit = max(math.sqrt(row_variance / (rows_a_day * pooled)), drop * history.LEAST_NOISE)
    alpha = shares(
        config.degradation, *[SLICES] * bool(config.evaluation.slices), *[STALE] * bool(config.evaluation.control)
    )
    return _Watch(drop / unit, pooled, references, max(round(DAYS_A_YEAR / pooled), 1), alpha)


def _in_time(promised: Power, row_variance: float, rows_a_day: float, config: ModelConfig) -> tuple[bool, str]:
    """Return whether the smallest drop is found soon, and the sentence."""
    drops = f"drops of {config.degradation.smallest_drop:g}"
    after = f"{promised.delay:.0f} day" + "s" * (promised.delay > 1)
    after += " of matured rows" if config.data.matures_after else ""
    soon = max(_SOON, whole_days(config.evaluation.window), promised.pooled)
    if promised.delay <= soon:
        return True, f"half of all {drops} are found within {after}"
    late = f"half of all {drops} are found only after {after}"
    late = late if promised.delay < NEVER else f"most {drops} are not found within a year"
    return False, late + _advice(row_variance, rows_a_day, config, promised.delay, soon)


def _advice(row_variance: float, rows_a_day: float, config: ModelConfig, delay: float, soon: float) -> str:
    """Return which changes of the config bring the delay down, and to what, each simulated."""

    def after(within: float, section: str, key: str, value: Any) -> float:
        changed = getattr(config, section).model_copy(update={key: value})
        watch = _watch(row_variance, rows_a_day, config.model_copy(update={section: changed}))
        return watch.delay(within) if watch else NEVER

    rule, window, remedies = config.degradation, 2 * config.gate.window, []
    for within in (soon, min(delay / 2, DAYS_A_YEAR)):
        days = functools.cache(functools.partial(after, within, "degradation", "smallest_drop"))
        if drop := _first([_two_digits(rule.smallest_drop * larger) for larger in _LARGER], days, within):
            remedies.append(f"raise degradation.smallest_drop to {drop:g} (then {days(drop):.0f}d)")
            break
    within, often = min((1 - _SAVED) * delay, DAYS_A_YEAR), min(2 * rule.false_alarms_per_year, 12.0)
    longer, oftener = after(within, "gate", "window", window), after(within, "degradation", _OFTEN, often)
    if min(longer, oftener) <= within:
        remedy = f"lengthen gate.window to {written(window)}"
        remedy = remedy if longer <= oftener else f"set degradation.{_OFTEN} to {often:g}"
        remedies.append(f"{remedy} (then {min(longer, oftener):.0f}d)")
    return ": " + " or ".join(remedies) if remedies else _HOPELESS


def _first(drops: Sequence[float], days: Callable[[float], float], within: float) -> float | None:
    """Return the smallest of drops in order that is found within so many days."""
    index = bisect.bisect_left(drops, -within, key=lambda drop: -days(drop))
    return drops[index] if index < len(drops) else None


def _no_reference(rows_a_day: float, config: ModelConfig) -> str:
    window, least, pooled = config.gate.window, config.evaluation.minimum_rows, _pooled(rows_a_day, config)
    return (
        f"gate.window {written(window)} holds {whole_days(window) // pooled} of the {FEWEST_REFERENCE_POINTS} points "
        f"of {least:,} rows (evaluation.minimum_rows) that a champion's reference takes, at {rows_a_day:,.3g} rows a "
        "day; the first points after its deployment will make it up, and no drop in them is found: "
        f"lengthen gate.window to {FEWEST_REFERENCE_POINTS * pooled}d"
    )


def _pooled(rows_a_day: float, config: ModelConfig) -> int:
    return max(1, math.ceil(config.evaluation.minimum_rows / rows_a_day))


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
