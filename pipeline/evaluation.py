"""Scoring models on rows that they have not seen, and what a morning's evaluation found."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline import checks
from pipeline.checks import Profile
from pipeline.comparison import discordant
from pipeline.config import ModelConfig
from pipeline.data import DAY, KEY, Window, as_date, inputs, slice_values
from pipeline.gap import Gap
from pipeline.manifest import Kind
from pipeline.scores import Output, RowStatistics, Score
from pipeline.tally import Point, Tally

if TYPE_CHECKING:
    from pandas import DataFrame

Z95 = 1.959964
FEWEST_SLICE_ROWS = 30
"""A slice with fewer rows says nothing about a model; it is shown, not judged."""


@dataclass(frozen=True)
class Subject:
    """Something that predicts: ``predict(frame, output, k)`` gets ``features`` and returns (n,) or (n, k)."""

    features: Mapping[str, Kind]
    predict: Callable[["DataFrame", Output, int], np.ndarray]


@dataclass(frozen=True)
class Control:
    """A fresh fit that answers the same rows; ``seen``: the sorted keys (uint64) that it was trained on."""

    subject: Subject
    seen: np.ndarray


class SliceScore(msgspec.Struct, frozen=True):
    """The score of one slice."""

    column: str
    value: str
    rows: int
    score: float


class Evaluation(msgspec.Struct, frozen=True):
    """What one morning found about the champion. ``score`` and its 95 % interval are None where not defined.

    ``points``: new points of the history; ``faults``: why the newest data cannot be trusted;
    ``set_aside``: days that were left out of the history, with the reason; ``slice_points``: new points by slice;
    ``gaps``: between champion and control, a point for each of ``points`` where it is defined.
    """

    window: str
    rows: int
    score: float | None
    low: float | None
    high: float | None
    points: list[Point]
    slices: list[SliceScore]
    faults: list[str]
    set_aside: list[str]
    slice_points: dict[str, list[Point]] = {}
    gaps: list[Point] = []


@dataclass(frozen=True)
class Scored:
    """Rows scored: a tally a subject, a profile of the data a day, under a binary score a tally of pairs a rival; the
    gap to the control, if there is one."""

    tallies: dict[str, Tally]
    profiles: dict[int, Profile]
    pairs: dict[str, Tally]
    gap: Gap | None = None


def score_rows(
    batches: Iterable["DataFrame"],
    subjects: Mapping[str, Subject],
    score: Score,
    config: ModelConfig,
    seen: np.ndarray,
    resampled: str | None = None,
    control: Control | None = None,
) -> Scored:
    """Score every subject on the same rows, without those whose key (uint64) is in the sorted array ``seen``.

    ``resampled`` names the subject whose points are wanted with their variance; the others are its rivals. ``control``
    is what it is held against on the rows that are new to the control as well.
    """
    rivals = subjects.keys() - {resampled} if score.binary and resampled is not None else set()
    tallies = {name: Tally(score, name == resampled and not score.mean) for name in subjects}
    scored = Scored(tallies, {}, {name: Tally(score) for name in rivals}, Gap(score) if control else None)
    for batch in batches:
        fresh = batch[~among(batch[KEY].to_numpy(np.uint64), seen)]
        for day, profile in Profile.by_day(fresh, config).items():
            known = scored.profiles.get(day)
            scored.profiles[day] = (known + profile).spanning(1) if known else profile
        labelled = fresh[fresh[config.data.label].notna()]
        if len(labelled):
            statistics = _add(labelled, subjects, score, config, scored, resampled)
            if control and scored.gap:
                _hold(labelled, control, score, config, scored.gap, statistics[resampled])
    return scored


def evaluate(
    scored: Tally,
    profiles: dict[int, Profile],
    reference: Profile,
    config: ModelConfig,
    since: int,
    window: Window,
    gap: Gap | None = None,
) -> Evaluation:
    """Turn scored days into an Evaluation: days from ``since`` become points, ``window`` the score now."""
    made, faults, set_aside = _Points(scored, gap), [], []
    bad = checks.bad_days(profiles, reference, config)
    for days, span, complete in checks.pools(profiles, since, window.end, config.evaluation.minimum_rows):
        profile = checks.pool(profiles, days, span)
        if complete:
            found = faults = checks.faults(profile, reference, config.data.checks)
        else:
            found = checks.volume_faults(profile, reference, config.data.checks)
            faults = faults + found
        if found:
            bad.update(days)
        elif complete:
            found = made.add([day for day in days if day in scored.days()], span)
        last = days[-1] if complete else window.end - 1
        set_aside += [f"{as_date(last - span + 1)}..{as_date(last)}: {fault}" for fault in found]
    days = [day for day in scored.days() if window.first <= day < window.end and day not in bad]
    summary = _summary(scored, days, window, made.points, faults, set_aside)
    return msgspec.structs.replace(summary, slice_points=made.parts, gaps=made.gaps)


def shown(score: Score, point: Point, reference: float) -> dict[str, float]:
    """Return a point as the MLflow chart shows it: score, 95 % interval, and the score at deployment."""
    half = Z95 * point.variance**0.5
    low, value, high = sorted(score.from_loss(loss) for loss in (point.loss - half, point.loss, point.loss + half))
    return {"score": value, "score_low": low, "score_high": high, "reference": score.from_loss(reference)}


@dataclass
class _Points:
    """New points of the history, of its slices and of the gap."""

    tally: Tally
    gap: Gap | None
    points: list[Point] = field(default_factory=list)
    parts: dict[str, list[Point]] = field(default_factory=dict)
    gaps: list[Point] = field(default_factory=list)

    def add(self, days: list[int], span: int) -> list[str]:
        """Pool labelled days; return why they make no point. Slices make one where their rows say something."""
        if not days:
            return []
        point = self.tally.point(days, span)
        if not math.isfinite(point.loss + point.variance):
            return [f"the score and its error are not defined on {point.rows} rows"]
        self.points.append(point)
        for group in self.tally.groups():
            part = self.tally.part(point, days, group)
            if part.rows >= FEWEST_SLICE_ROWS and math.isfinite(part.loss + part.variance):
                self.parts.setdefault(" = ".join(group), []).append(part)
        if self.gap and (gap := self.gap.point(days, span)):
            self.gaps.append(gap)
        return []


def _summary(
    tally: Tally,
    days: list[int],
    window: Window,
    points: list[Point],
    faults: list[str],
    set_aside: list[str],
) -> Evaluation:
    if not days:
        return Evaluation(str(window), 0, None, None, None, points, [], faults, set_aside)
    now = tally.point(days, window.days)
    half = Z95 * now.variance**0.5
    scores = sorted(tally.score.from_loss(loss) for loss in (now.loss - half, now.loss, now.loss + half))
    low, value, high = (one if math.isfinite(one) else None for one in scores)
    slices = []
    for column, group in tally.groups():
        sums = tally.matrix(days, (column, group)).sum(axis=0)
        if sums[0] and math.isfinite(score := float(tally.score.value(sums))):
            slices.append(SliceScore(column, group, int(sums[0]), score))
    return Evaluation(str(window), now.rows, value, low, high, points, slices, faults, set_aside)


def _add(
    rows: "DataFrame",
    subjects: Mapping[str, Subject],
    score: Score,
    config: ModelConfig,
    scored: Scored,
    resampled: str | None,
) -> dict[str | None, RowStatistics]:
    truth, days = rows[config.data.label].to_numpy(), rows[DAY].to_numpy()
    statistics: dict[str | None, RowStatistics] = {}
    slices = {column: slice_values(rows[column]) for column in config.evaluation.slices}
    for name, subject in subjects.items():
        predictions = subject.predict(inputs(rows, dict(subject.features)), score.output, score.k)
        statistics[name] = score.rows(truth, predictions)
        scored.tallies[name].add(days, slices, statistics[name])
    for rival, pairs in scored.pairs.items():
        pairs.add(days, {}, discordant(score, statistics[rival], statistics[resampled]))
    return statistics


def _hold(
    rows: "DataFrame", control: Control, score: Score, config: ModelConfig, gap: Gap, champion: RowStatistics
) -> None:
    fresh = ~among(rows[KEY].to_numpy(np.uint64), control.seen)
    if fresh.any():
        held = rows[fresh]
        predictions = control.subject.predict(inputs(held, dict(control.subject.features)), score.output, score.k)
        statistics = score.rows(held[config.data.label].to_numpy(), predictions)
        gap.add(held[DAY].to_numpy(), champion[fresh], statistics)


def among(keys: np.ndarray, sorted_keys: np.ndarray) -> np.ndarray:
    """Return (n,) whether each of n keys is one of the sorted ones."""
    if not len(sorted_keys):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[at] == keys
