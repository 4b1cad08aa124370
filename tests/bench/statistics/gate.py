"""The gate's operating characteristics: simulated rows through the functions that judge real ones.

A champion errs on 15 % of 2,000 rows over 28 days; on 8 % of them, just one of challenger and champion is right. That
is a third of what it would be for independent models, and more than for refits of models/type on windows of titles
that lie a year apart. Only the power depends on it: the more two models disagree, the more rows tell them apart.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from pipeline import gate, ledger, scores
from pipeline.comparison import Difference, Pairs, difference
from pipeline.config import GateRules
from pipeline.data import Window
from pipeline.evidence import Evidence, slice_confidence
from pipeline.ledger import Look
from tests.bench.statistics.figure import Figure

ERROR, DISAGREEMENT, ROWS, DAYS = 0.15, 0.08, 2000, 28
RULES = GateRules(baseline="most_frequent")
ALPHA, WINDOW = 1 - RULES.confidence, Window(0, DAYS)
BASELINE = Difference(0.3, 0.29, 0.31, DAYS, ROWS)
SHARE, ERRORS = scores.get("accuracy"), scores.get("mae")
FIRST = ledger.look(WINDOW, [], ALPHA)


def sums(n: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return (..., days, 3) sums of rows that are right or wrong."""
    return np.stack([n, right, right], axis=-1).astype(float)


def pairs(random: np.random.Generator, number: int, gain: float, spread: float = 0, days: int = DAYS, rows: int = ROWS):
    """Return what ``number`` gates see of two models: rows (number, days), of which right, gained and lost.

    The daily error wanders by one point for both; ``spread`` is by how much the gain does from day to day.
    """
    n = random.multinomial(rows, np.full(days, 1 / days), number)
    error = np.clip(random.normal(ERROR, 0.01, n.shape), DISAGREEMENT, None)
    daily = np.clip(random.normal(gain, spread, n.shape), -DISAGREEMENT, DISAGREEMENT)
    gained, lost = (DISAGREEMENT + daily) / 2, (DISAGREEMENT - daily) / 2
    cells = random.multinomial(n, np.stack([1 - error - lost, gained, lost, error - gained], axis=-1))
    return n, cells[..., 0] + cells[..., 2], cells[..., 1], cells[..., 2]


def passes(n: np.ndarray, right: np.ndarray, gained: np.ndarray, lost: np.ndarray, look: Look = FIRST) -> bool:
    """Judge one gate from its (days,) counts."""
    old, new = sums(n, right), sums(n, right + gained - lost)
    return promoted(
        difference(SHARE, old, new, 1 - look.alpha), look, {"champion": Pairs(int(gained.sum()), int(lost.sum()))}
    )


def promoted(gain: Difference | None, look: Look = FIRST, found: dict[str, Pairs] | None = None, slices=None) -> bool:
    """Judge one gate whose baseline is beaten by far."""
    gains = {"champion": gain, "baseline": BASELINE}
    evidence = Evidence(ROWS, ERROR, look, gains, found or {}, slices or {})
    return gate.judge(evidence, RULES, 500, 0.02).outcome.passed


def one_try(seed: int, gain: float, spread: float = 0, number: int = 12_000) -> tuple[int, int]:
    """Count promotions in as many gates."""
    seen = pairs(np.random.default_rng(seed), number, gain, spread)
    return sum(map(passes, *seen)), number


def ten_tries(seed: int, number: int = 4000) -> tuple[int, int]:
    """Count the series of ten equal challengers, one after another on the same rows, of which one was promoted."""
    random, count = np.random.default_rng(seed), 0
    looks = [ledger.look(WINDOW, [WINDOW] * earlier, ALPHA) for earlier in range(10)]
    for _ in range(number):
        seen = zip(*pairs(random, len(looks), 0), looks, strict=True)
        count += any(passes(*one) for one in seen)
    return count, number


def skewed(seed: int, days: int, number: int = 10_000) -> tuple[int, int]:
    """Count promotions of challengers of equal mean absolute error that err less often, but grossly (log-normal)."""
    random, count = np.random.default_rng(seed), 0
    for _ in range(number):
        n = random.integers(50, 90, days)
        errors = random.exponential(1, (days, 90)), random.lognormal(-0.5, 1, (days, 90))
        held = (x * (np.arange(90) < n[:, None]) for x in errors)
        both = (np.stack([n, x.sum(axis=1), (x**2).sum(axis=1)], axis=-1) for x in held)
        count += promoted(difference(ERRORS, *both, 1 - FIRST.alpha))
    return count, number


def slices(seed: int, slices: int = 20, number: int = 2000) -> tuple[int, int]:
    """Count refusals, for a slice alone, of challengers that are equal in each of so many slices of 100 rows."""
    random, count, sure = np.random.default_rng(seed), 0, slice_confidence(RULES, slices)
    better = Difference(0.02, 0.01, 0.03, DAYS, ROWS)
    for _ in range(number):
        seen = zip(*pairs(random, slices, 0, rows=100), strict=True)
        gains = (difference(SHARE, sums(n, right), sums(n, right + up - down), sure) for n, right, up, down in seen)
        count += not promoted(better, slices={str(at): gain for at, gain in enumerate(gains)})
    return count, number


def rows() -> list[Figure]:
    """Simulate every figure, on all cores."""
    rate = 1 - RULES.confidence
    plan: list[tuple[str, str, Callable[..., tuple[int, int]], tuple[float, ...], dict[str, float]]] = [
        ("promoted although equal", "days alike", one_try, (1, 0), {"most": rate}),
        ("promoted although equal", "the gain wanders by 2 pt a day", one_try, (2, 0, 0.02), {"most": rate}),
        ("promoted although equal", "ten tries on the same rows", ten_tries, (3,), {"most": rate}),
        *(("promoted although equal", f"skewed errors, {days} days", skewed, (days, days), {"most": rate})
          for days in (7, 14, 28)),
        ("promoted although 1 pt worse", "days alike", one_try, (4, -0.01), {"most": 0.002}),
        ("promoted when 2 pt better", "days alike", one_try, (5, 0.02), {"least": 0.85}),
        ("refused for a slice although equal", "20 slices of 100 rows", slices, (6,), {"most": rate}),
    ]  # fmt: skip
    with ProcessPoolExecutor() as workers:
        found = [workers.submit(simulate, *arguments) for _, _, simulate, arguments, _ in plan]
        return [
            Figure.share(name, scenario, *counted.result(), **target)
            for (name, scenario, _, _, target), counted in zip(plan, found, strict=True)
        ]
