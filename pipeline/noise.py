"""Noise: how much a model's loss varies from point to point though nothing has changed.

A point's loss is the true loss of its days plus sampling noise. The true loss of unchanged days wanders: here it is an
autoregressive process of order one, with standard deviation ``tau`` and correlation ``rho`` from one point to the next.
Neither can be told exactly from a few dozen points, so what is known of them is kept whole: ``weights`` are the
posterior probabilities of a grid of both, from a half-normal prior of tau, by the Whittle likelihood of the points'
periodogram (Whittle 1953; its expectation is the exact one of blocks so short). All is in units of the sampling noise's
standard deviation; arrays may have leading axes, one entry a model.
"""

import functools
from collections.abc import Iterator

import numpy as np

_TAUS = np.geomspace(0.25, 6, 12)
_RHOS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
GRID = np.array([(0.0, 0.0), *((tau, rho) for tau in _TAUS for rho in _RHOS)])
"""(G, 2): tau and rho of every process that is thought possible."""
_FEWEST_WEEKS = 4
# With fewer kinds of days there is nothing to shrink.
_FEWEST_DAYS = 4
WANDER, WANDER_OF_A_GAP = 0.75, 0.2
"""The prior's standard deviation of tau, in smallest drops: who asks for a drop thinks it to be more than usual. What
makes days differ is common to two models on the same rows, so their gap wanders less."""
# One unchanged loss in five does not wander at all. One that does is thought to do so for days rather than by the day.
_CELLS = np.append(0.2 / 0.8, np.tile(np.where(np.array(_RHOS) < 0.4, 1, 3) / 15 / len(_TAUS), len(_TAUS)))


def periodogram(blocks: np.ndarray) -> np.ndarray:
    """Return (..., length // 2) power, by frequency, of (..., length) points: their mean does not count."""
    return np.asarray(np.abs(np.fft.rfft(blocks, axis=-1)[..., 1:]) ** 2 / blocks.shape[-1])


def weights(power: np.ndarray, blocks: int, length: int, drop: float, wander: float = WANDER) -> np.ndarray:
    """Return (..., G) posterior probabilities from the sum (..., length // 2) of the periodograms of ``blocks``.

    ``drop`` is the smallest that matters: before anything is seen, ``wander`` of it is how far the true loss may go.
    """
    expected, degrees = _spectra(length), _degrees(length)
    prior = np.log(_CELLS) - (GRID[:, 0] / (wander * drop)) ** 2 / 2
    logs = prior - blocks * (degrees * np.log(expected)).sum(axis=-1) - (power * degrees) @ (1 / expected).T
    found = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))


def weekly(blocks: np.ndarray, weekdays: np.ndarray) -> np.ndarray:
    """Return the (..., 7) usual difference of each day of the week, from (..., blocks, length) points of one day each.

    ``weekdays`` (blocks, length) int: of each point. Shrunk towards none by as much as chance alone would make of it
    (James & Stein 1961); none at all before four weeks are known.
    """
    residuals = blocks - blocks.mean(axis=-1, keepdims=True)
    days = np.eye(7)[weekdays]
    counts = days.sum(axis=(0, 1))
    held = counts > 0
    if counts[held].min() < _FEWEST_WEEKS or held.sum() < _FEWEST_DAYS:
        return np.zeros((*blocks.shape[:-2], 7))
    means = np.einsum("...kl,klw->...w", residuals, days) / np.maximum(counts, 1)
    variance = (residuals**2).sum(axis=(-2, -1)) / (weekdays.size - len(weekdays) - held.sum() + 1)
    found, by_chance = (counts * means**2).sum(axis=-1), (held.sum() - 3) * variance
    kept = 1 - by_chance / np.maximum(found, np.maximum(by_chance, np.finfo(float).tiny))
    return np.asarray(kept[..., np.newaxis] * means)


def spectrum(blocks: np.ndarray, weekdays: np.ndarray, daily: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the (..., 7) usual difference of each day of the week, and the (..., length // 2) power of the rest.

    That is summed over the (..., blocks, length) points, whose (blocks, length) ``weekdays`` count if they are
    ``daily``: each of one day.
    """
    week = weekly(blocks, weekdays) if daily else np.zeros((*blocks.shape[:-2], 7))
    return week, periodogram(blocks - week[..., weekdays]).sum(axis=-2)


def spread(found: np.ndarray) -> np.ndarray:
    """Return the (...) posterior mean of tau."""
    return np.asarray(found @ GRID[:, 0])


def long_run_variance(found: np.ndarray, probability: float) -> np.ndarray:
    """Return the (...) variance that n points' mean has times n, for many points; with a probability it is no more."""
    tau, rho = GRID.T
    variances = 1 + tau**2 * (1 + rho) / (1 - rho)
    order = np.argsort(variances)
    below = np.cumsum(found[..., order], axis=-1)
    return np.asarray(variances[order][np.argmax(below >= min(probability, 1 - 1e-9), axis=-1)])


def simulated(length: int, number: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield ``length`` times the (G, number) points of as many unchanged processes of each kind, around zero."""
    taus, rhos = GRID[:, :1].astype(np.float32), np.unique(GRID[:, 1]).astype(np.float32)[:, np.newaxis]
    kind = np.searchsorted(rhos[:, 0], GRID[:, 1].astype(np.float32))
    days = np.zeros((len(rhos), number), np.float32)
    for index in range(length):
        shocks, sampling = random.standard_normal((2, number), dtype=np.float32)
        days = rhos * days + np.sqrt(1 - rhos**2) * shocks if index else days + shocks
        yield sampling + taus * days[kind]


@functools.cache
def _spectra(length: int) -> np.ndarray:
    """Return the (G, length // 2) expected periodogram of a block, from the autocovariances."""
    lags, frequencies = np.arange(length), 2 * np.pi * np.arange(1, length // 2 + 1) / length
    covariances = GRID[:, :1] ** 2 * GRID[:, 1:] ** lags
    covariances[:, 0] += 1
    return np.asarray((covariances * (1 - lags / length) * np.where(lags, 2, 1)) @ np.cos(np.outer(lags, frequencies)))


@functools.cache
def _degrees(length: int) -> np.ndarray:
    """Return half of each frequency's degrees of freedom: the highest of an even length has but one."""
    return np.where(2 * np.arange(1, length // 2 + 1) == length, 0.5, 1.0)
