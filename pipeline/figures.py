"""Numbers as a person reads them."""

import math


def figure(value: float | None, sign: str = "") -> str | None:
    """Return a score in the digits that one reads (None for None, nan, inf); ``sign`` "+" shows a plus."""
    if value is None or not math.isfinite(value):
        return None
    if not value:
        return "0"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 3 if size >= 0.001 else 6
    return f"{value:{sign},.{digits}f}"
