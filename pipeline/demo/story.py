"""The story that ``make demo`` plays: its mornings, at the data set's own dates, and what each has to come to."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from pipeline.trouble import Kind
from pipeline.verdict import Decision, Gate, Rollout

TOKYO = ZoneInfo("Asia/Tokyo")
BROKEN = date(2015, 3, 1), date(2015, 5, 1)
"""The days whose titles a faulty loader loses before the last morning."""


@dataclass(frozen=True)
class Morning:
    """One run and what it must come to. ``gate`` holds every acceptable verdict; empty: it must not get so far."""

    model: str
    at: datetime
    story: str
    verdict: Decision
    gate: tuple[Gate, ...] = ()
    rollout: Rollout | None = None
    champion: str = "1"
    page: Kind | None = None
    loses_titles: bool = False


PASSED = (Gate.PROMOTE, Gate.PROMOTE_NOT_RECOVERED)
MORNINGS = (
    Morning(
        "sites", datetime(2013, 2, 1, 5, tzinfo=TOKYO), "no champion yet: train, gate, release",
        Decision.RETRAIN, (Gate.PROMOTE,), Rollout.PROMOTED,
    ),
    Morning("sites", datetime(2013, 7, 1, 5, tzinfo=TOKYO), "the score holds", Decision.KEEP),
    Morning(
        "sites", datetime(2015, 2, 1, 5, tzinfo=TOKYO), "new titles degraded it: a challenger takes over",
        Decision.RETRAIN, PASSED, Rollout.PROMOTED, champion="2",
    ),
    Morning(
        "sites", datetime(2015, 6, 1, 5, tzinfo=TOKYO), "a loader lost titles: nothing is retrained",
        Decision.DATA_BAD, champion="2", page=Kind.DATA_BAD, loses_titles=True,
    ),
    Morning(
        "type", datetime(2009, 2, 1, 5, tzinfo=TOKYO), "no champion yet: train, gate, release",
        Decision.RETRAIN, (Gate.PROMOTE,), Rollout.PROMOTED,
    ),
    Morning(
        "type", datetime(2011, 2, 1, 5, tzinfo=TOKYO), "degraded, and retraining does not help: on-call is paged",
        Decision.RETRAIN, (Gate.REJECT,), page=Kind.GATE_REJECTED,
    ),
)  # fmt: skip
