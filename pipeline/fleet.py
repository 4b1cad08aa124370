"""The fleet: how each model stands, for ``zeta status``."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from croniter import croniter
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline import config, settings, workspace
from pipeline.adapters.registry import CHAMPION, PAUSED, Registry, Version
from pipeline.adapters.runs import unprefixed
from pipeline.errors import ConfigError, ZetaError
from pipeline.rollout import Release
from pipeline.standing import Standing
from pipeline.trouble import Trouble
from pipeline.workspace import Workspace

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_POINTS = 10
# How long after its time a run may take to a verdict.
_PATIENCE = timedelta(hours=1)


def standings(names: list[str], now: datetime) -> list[Standing]:
    """Return how the named models stand, or all of them; a fault of one is told in its own row."""
    known = [path.parent.name for path in config.paths(settings.load().models)]
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f"no model {unknown}; expected one of {known}")
    return [_standing(name, now) for name in names or known]


def _standing(name: str, now: datetime) -> Standing:
    try:
        return _of(workspace.load(name), now)
    except ZetaError as error:
        return Standing(name, fault=str(error))


def _of(work: Workspace, now: datetime) -> Standing:
    name, registry = work.config.name, work.registry
    champion = registry.aliased(name, CHAMPION)
    verdict, here = _verdict(registry, champion, name), now.astimezone(ZoneInfo(work.config.timezone))
    serving, canary = (work.platform.seen(name, role) for role in ("stable", "canary"))
    points = registry.points(champion) if champion else []
    known = champion is not None and champion.tag("score") == work.config.evaluation.score
    score, trouble = work.score, registry.note(name, "trouble")
    return Standing(
        model=name,
        owner=work.config.owner,
        champion=champion.number if champion else None,
        digest=champion.tags.get("digest") if champion else None,
        score=work.config.evaluation.score,
        deployed=score.from_loss(float(champion.tag("reference_loss"))) if champion and known else None,
        trend=tuple(score.from_loss(point.loss) for point in points[-_SHOWN_POINTS:]),
        missed=_missed(work.config.schedule, here, verdict.get("judged_at")),
        next_run=croniter(work.config.schedule, here).get_next(datetime).isoformat(),
        release=_running(serving) if serving else None,
        servers="{}/{}".format(*serving.servers) if serving else None,
        canary=_running(canary) if canary else None,
        address=serving.address if serving else None,
        paused=registry.note(name, PAUSED),
        trouble=Trouble.from_json(trouble) if trouble else None,
        **verdict,
    )


def _verdict(registry: Registry, champion: Version | None, name: str) -> dict[str, Any]:
    """Return what there is to say of the newest run that has a verdict."""
    run = next((run for run in registry.runs(name) if "zeta.verdict" in run.data.tags), None)
    if run is None:
        return {}
    tags, numbers = unprefixed(run.data.tags), run.data.metrics
    told = {"verdict": tags["verdict"], "reasons": tags.get("reasons"), "now": numbers.get("score")}
    told |= {"judged": tags.get("champion"), "judged_at": tags["at"]}
    if champion and champion.number == tags.get("champion"):
        told |= {"evidence": numbers.get("evidence"), "e_value": numbers.get("e_value")}
    return told


def _missed(schedule: str, now: datetime, judged_at: str | None) -> str | None:
    due = croniter(schedule, now - _PATIENCE).get_prev(datetime)
    return None if judged_at and datetime.fromisoformat(judged_at) >= due else due.isoformat()


def table(standings: list[Standing]) -> Table:
    """Return the fleet as a table that fits a terminal of 80 columns."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in ("model", "serves", "score now\n(deployed)", "trend", "verdict", "next run", "trouble"):
        shown.add_column(column, no_wrap=column != "trouble", min_width=12 if column == "trouble" else None)
    for one in standings:
        if one.fault:
            shown.add_row(one.model, "[red]unknown[/red]", "", "", "", "", Text(one.fault, style="red"))
            continue
        score = f"{one.score}\n{_figure(one.now)} ({_figure(one.deployed)})"
        verdict = f"{'paused, ' * bool(one.paused)}{one.verdict or 'none yet'}\n{_date(one.judged_at)}"
        trouble = f"{one.trouble.kind}\nsince {one.trouble.since.date()}" if one.trouble else ""
        shown.add_row(
            one.model, _serves(one), score, spark(one.trend), verdict, _date(one.next_run), Text(trouble, style="red")
        )
    return shown


def as_json(standings: list[Standing]) -> list[dict[str, Any]]:
    """Return the fleet for scripts."""
    return [msgspec.to_builtins(one) for one in standings]


def spark(values: tuple[float, ...]) -> str:
    """Draw numbers as bars from the lowest to the highest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    return "".join(_BARS[round((value - low) / ((high - low) or 1) * (len(_BARS) - 1))] for value in values)


def _running(release: Release) -> str:
    under_way = "under way" if release.servers[0] else "NOT READY"
    return f"v{release.version} {'ready' if release.ready else under_way}"


def _serves(one: Standing) -> str:
    nothing = "nothing" if one.champion is None else f"nothing!\n(v{one.champion})"
    lines = [one.release or nothing, one.servers, one.canary and f"canary {one.canary.partition(' ')[0]}"]
    return "\n".join(line for line in lines if line)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _date(moment: str | None) -> str:
    return (moment or "").replace("T", "\n")[:16]
