"""`zeta replay`: a recorded verdict, made again from what it was made from by the code as it is now."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline import decision
from pipeline.data import as_date
from pipeline.decision import Record
from pipeline.errors import Permanent
from pipeline.workspace import Workspace, commit

_SHOWN = 5


def replay(work: Workspace, at: datetime) -> list[str]:
    """Return what there is to say of the verdict of the run at ``at``: first that it is equal, bit for bit.

    Raises Permanent when it is not, with each field that differs, and when there is no record of it.
    """
    name, text = work.config.name, _text(work, at)
    try:
        found = msgspec.json.decode(text, type=Record)
    except msgspec.ValidationError as error:
        raise Permanent(
            f"{name}: {decision.FILE} of {at.isoformat()} is no whole record: {error}; "
            f"`zeta decide {name} --at {at.isoformat()}` writes it anew"
        ) from error
    recorded = msgspec.json.decode(text)
    again = msgspec.to_builtins(decision.decide(found.inputs))
    different = [line for field in again for line in _differences(field, recorded.get(field), again[field])]
    told = [*_code(found), *_history(work, found)]
    said = f"{name} at {at.isoformat()}: {found.outcome}"
    if different:
        raise Permanent("\n".join([f"{said}, but made again it differs:", *different, *told]))
    return [f"{said}; made again it is equal, bit for bit", *found.reasons, *told]


def _text(work: Workspace, at: datetime) -> str:
    """Return the record of a run; unlike a step, make no run where none is."""
    name, moment = work.config.name, at.astimezone(UTC).isoformat(timespec="seconds")
    runs = {run.data.tags["zeta.at"]: run.info.run_id for run in work.registry.runs(name)}
    text = work.registry.read(runs[moment], decision.FILE) if moment in runs else None
    if text is None:
        nearest = sorted(runs, key=lambda known: abs(datetime.fromisoformat(known) - at))[:_SHOWN]
        known = f"there are runs at {', '.join(sorted(nearest))}" if nearest else "it has no runs at all"
        raise Permanent(
            f"{name}: no verdict is recorded at {moment}; {known}: name one of a verdict, or make this one with "
            f"`zeta run {name} --at {moment}`"
        )
    return text


def _differences(field: str, recorded: Any, again: Any) -> list[str]:
    """Compare as JSON, in which a float has all its bits and nan is null."""
    if isinstance(again, dict) and isinstance(recorded, dict):
        keys = [*recorded, *(key for key in again if key not in recorded)]
        return [line for key in keys for line in _differences(f"{field}.{key}", recorded.get(key), again.get(key))]
    was, now = (msgspec.json.encode(value).decode() for value in (recorded, again))
    return [] if was == now else [f"{field} was recorded as {was} and is {now}"]


def _code(found: Record) -> list[str]:
    now = decision.made_with(commit())
    return [
        f"note: {part} is {now.get(part, 'absent')}, when it was recorded {found.made_with.get(part, 'absent')}"
        for part in sorted(now.keys() | found.made_with.keys())
        if now.get(part) != found.made_with.get(part)
    ]


def _history(work: Workspace, found: Record) -> list[str]:
    """Tell which recorded points the registry's history of the version does not hold any more."""
    number, recorded = found.inputs.champion, [*found.inputs.reference, *found.inputs.since]
    if not recorded:
        return []
    version = next((one for one in work.registry.versions(work.config.name) if one.number == number), None)
    held = {} if version is None else {row[0]: row for row in decision.rows(work.registry.points(version))}
    encode = msgspec.json.encode
    lost = [as_date(row[0]) for row in recorded if encode(held.get(row[0])) != encode(row)]
    if not lost:
        return []
    days = ", ".join(map(str, lost[:_SHOWN])) + ", ..." * (len(lost) > _SHOWN)
    return [f"note: the registry's history of version {number} holds {len(lost)} points otherwise, or not: {days}"]
