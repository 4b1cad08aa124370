"""Data checks, before any score: is this partition of the data what the training window looked like?"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.config import Checks, ModelConfig
from pipeline.data import DAY
from pipeline.scores import SEPARATOR

if TYPE_CHECKING:
    from pandas import DataFrame

# So many rows must be expected before their absence is a fault.
_EXPECTED_AT_LEAST = 50


class Profile(msgspec.Struct, frozen=True):
    """Counts of some days' rows: nulls (and empty texts) a column, rows a label (none for a regression)."""

    days: int
    rows: int
    nulls: dict[str, int]
    labels: dict[str, int]

    @classmethod
    def of(cls, frame: "DataFrame", config: ModelConfig, days: int = 1) -> "Profile":
        """Count the rows of a tidy frame that stands for ``days`` calendar days."""
        labels: Counter[str] = Counter()
        if config.task != "regression":
            for text, count in frame[config.data.label].value_counts().items():
                labels.update(dict.fromkeys(str(text).split(SEPARATOR), int(count)))
        nulls = {column: int((frame[column].isna() | (frame[column] == "")).sum()) for column in config.data.features}
        nulls[config.data.label] = int(frame[config.data.label].isna().sum())
        return cls(days, len(frame), nulls, dict(labels))

    @classmethod
    def by_day(cls, frame: "DataFrame", config: ModelConfig) -> dict[int, "Profile"]:
        """Return a profile of each day of a tidy frame."""
        days = frame[DAY].to_numpy()
        return {int(day): cls.of(frame[days == day], config) for day in np.unique(days)}

    def __add__(self, other: "Profile") -> "Profile":
        """Pool two profiles of different days."""
        return Profile(
            self.days + other.days,
            self.rows + other.rows,
            dict(Counter(self.nulls) + Counter(other.nulls)),
            dict(Counter(self.labels) + Counter(other.labels)),
        )

    def spanning(self, days: int) -> "Profile":
        """Return the same counts as standing for another number of calendar days."""
        return msgspec.structs.replace(self, days=days)


def faults(profile: Profile, reference: Profile, checks: Checks) -> list[str]:
    """Return a sentence for each check that a partition fails; none means that it may be scored."""
    return [*content_faults(profile, reference, checks), *volume_faults(profile, reference, checks)]


def content_faults(profile: Profile, reference: Profile, checks: Checks) -> list[str]:
    """Check nulls and label shares against the reference's."""
    found = []
    for column, count in sorted(profile.nulls.items()):
        share, usual = _share(count, profile.rows), _share(reference.nulls.get(column, 0), reference.rows)
        if share > usual + checks.nulls:
            found.append(f"nulls: {column} is null in {share:.1%} of {profile.rows} rows, usually in {usual:.1%}")
    for label, count in sorted(profile.labels.items()):
        share, usual = _share(count, profile.rows), _share(reference.labels.get(label, 0), reference.rows)
        if share > usual + checks.label_share:
            found.append(f"label_share: {label!r} is on {share:.1%} of {profile.rows} rows, usually on {usual:.1%}")
    return found


def volume_faults(profile: Profile, reference: Profile, checks: Checks) -> list[str]:
    """Check the rows a day against the reference's; silent where too few were expected to tell."""
    expected = _share(reference.rows, reference.days) * profile.days
    if expected < _EXPECTED_AT_LEAST or profile.rows >= checks.volume * expected:
        return []
    return [f"volume: {profile.rows} rows in {profile.days} days, where {expected:.0f} are usual"]


def pools(profiles: dict[int, Profile], since: int, end: int, rows: int) -> Iterator[tuple[list[int], int, bool]]:
    """Yield (days with rows, calendar days, complete) pools; the last one is what is still too small."""
    first, pool, held = since, [], 0
    for day in range(since, end):
        if day not in profiles:
            continue
        pool.append(day)
        held += profiles[day].rows
        if held >= rows:
            yield pool, day + 1 - first, True
            first, pool, held = day + 1, [], 0
    if first < end:
        yield pool, end - first, False


def bad_days(profiles: dict[int, Profile], reference: Profile, config: ModelConfig) -> set[int]:
    """Return the days of pools whose content cannot be trusted; days are pooled as for a point."""
    if not profiles:
        return set()
    pooled = pools(profiles, min(profiles), max(profiles) + 1, config.evaluation.minimum_rows)
    return {
        day
        for days, span, complete in pooled
        if complete and content_faults(pool(profiles, days, span), reference, config.data.checks)
        for day in days
    }


def pool(profiles: dict[int, Profile], days: list[int], span: int) -> Profile:
    """Add up the profiles of ``days`` as standing for ``span`` calendar days."""
    return sum((profiles[day] for day in days), Profile(0, 0, {}, {})).spanning(span)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
