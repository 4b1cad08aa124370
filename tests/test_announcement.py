"""What a run came to, when a trouble is known already and there may be an early warning."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pipeline import announcement
from pipeline.trouble import Kind, Trouble

AT = datetime(2026, 3, 3, 5, tzinfo=UTC)
KEEP, WARNED, LOST = {"verdict": "keep"}, {"warning": "title is far"}, {"warning": "", "warning_lost": "no answer"}
RETRAIN, BAD = {"verdict": "retrain"}, {"verdict": "data_bad"}


@pytest.mark.parametrize(
    ("known", "tags", "kind"),
    [
        (None, KEEP, None),
        (None, KEEP | WARNED, Kind.WARNING),
        (None, KEEP | LOST, None),
        (Kind.WARNING, KEEP | WARNED, Kind.WARNING),
        (Kind.WARNING, KEEP | LOST, Kind.WARNING),
        (Kind.WARNING, KEEP | {"warning": "", "warning_lost": ""}, None),
        (Kind.WARNING, RETRAIN | {"gate": "promote", "rollout": "promoted"} | WARNED, Kind.PROMOTED),
        (Kind.WARNING, RETRAIN | {"gate": "reject"} | WARNED, Kind.GATE_REJECTED),
        (None, BAD | WARNED, Kind.DATA_BAD),
        (Kind.WARNING, BAD | WARNED, Kind.DATA_BAD),
        (Kind.DATA_BAD, KEEP | WARNED, None),
        (Kind.GATE_REJECTED, RETRAIN | WARNED, Kind.GATE_REJECTED),
        (Kind.GATE_REJECTED, KEEP | {"waiting": "yes"} | WARNED, Kind.GATE_REJECTED),
    ],
)
def test_an_early_warning_is_the_least_of_troubles(known, tags, kind):
    work = SimpleNamespace(registry=SimpleNamespace(run_tags=lambda run: tags))
    trouble = Trouble(known, AT) if known else None
    assert announcement._kind(work, "run", AT, trouble) == kind
