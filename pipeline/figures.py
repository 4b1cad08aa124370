"""Numbers and times as a person reads them."""

import math
from datetime import datetime, timedelta


def figure(value: float | None, sign: str = "") -> str | None:
    """Return a score in the digits that one reads (None for None, nan, inf); ``sign`` "+" shows a plus."""
    if value is None or not math.isfinite(value):
        return None
    if not value:
        return "0"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 3 if size >= 0.001 else 6
    return f"{value:{sign},.{digits}f}"


def moment(at: datetime) -> str:
    """Return a moment to the minute, with its zone."""
    return at.strftime("%Y-%m-%d %H:%M %Z").strip()


def lasted(time: timedelta) -> str:
    """Return a duration in its largest unit."""
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1))):
        if time >= size:
            return f"{time // size} {unit}" + ("s" if time // size > 1 else "")
    return "less than an hour"
