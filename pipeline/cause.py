"""Why a champion scores worse than at its deployment: it is stale, or the data got harder. A pure function.

A fresh fit that answers the same rows is the control. What it gets back of the loss, the champion has lost by growing
old; what it does not, the rows have cost any model of this kind. But no fit has learnt what changed after its own rows.
"""

from pipeline.comparison import Difference

STALE, HARDER, OPEN = "stale", "harder", "open"
_WORDS = {
    STALE: "the champion is stale",
    HARDER: "the data got harder, or changed too lately to be learnt",
    OPEN: "whether the champion is stale or the data got harder is open",
}


def find(rise: float, regained: Difference, smallest_drop: float) -> str:
    """Return the cause of a rise in the loss, of which a fresh fit gets ``regained`` back: STALE, HARDER or OPEN."""
    if regained.low > 0:
        return STALE
    return HARDER if rise - regained.high > smallest_drop / 2 else OPEN


def told(rise: float, regained: Difference, smallest_drop: float) -> str:
    """Return the cause as a sentence, with what it rests on."""
    cause = find(rise, regained, smallest_drop)
    return (
        f"{_WORDS[cause]}: the champion's loss changed by {rise:+.3f} since its deployment, and on the same rows "
        f"a fresh fit gains {regained.estimate:+.3f} ({regained.low:+.3f} to {regained.high:+.3f})"
    )
