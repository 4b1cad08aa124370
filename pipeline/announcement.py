"""Announcing a run: what came of it, whether that is news, to whom."""

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from pipeline import alert, decision, settings, workspace
from pipeline.adapters import notifier
from pipeline.adapters.registry import CHALLENGER, CHAMPION, Registry, Version
from pipeline.alert import Outcome
from pipeline.detection import WAITING
from pipeline.errors import ConfigError, Temporary
from pipeline.evaluation import Evaluation
from pipeline.judgement import Judgement
from pipeline.slices import Slice
from pipeline.trouble import Kind, Over, Page, Trouble, decide_page
from pipeline.verdict import Decision, Gate, Rollout, Verdict
from pipeline.warning import LOST, WARNING
from pipeline.workspace import Workspace

T = TypeVar("T")
log = logging.getLogger(__name__)


def announce(name: str, at: datetime, failed: str | None = None, error: str | None = None) -> dict[str, Any]:
    """Page the on-call when there is news: a new trouble, the end of one, or a model.yaml that cannot be read."""
    workspace.file(name)
    try:
        work = workspace.load(name)
    except ConfigError as broken:
        return {"page": _say_broken(name, at, str(broken))}
    try:
        run = work.registry.run(name, at)
        known = _open(work.registry, name)
        kind = Kind.FAILED if failed else _kind(work, run, at, known)
        outcome = _outcome(work, run, at, kind, failed, error)
    except Temporary as unreachable:
        if failed is None:
            raise
        # Nobody can tell whether it was said before: better twice than never.
        outcome = Outcome(name, at, owner=work.config.owner, step=failed, error=f"{error}\n{unreachable}")
        notifier.send(alert.build(Kind.FAILED, outcome), work.config.alerts)
        return {"page": str(Kind.FAILED)}
    said = _say(work.registry, work.config.alerts, known, kind, outcome)
    work.registry.finish(run, succeeded=failed is None)
    return {"page": said}


def pending(work: Workspace, run: str, at: datetime) -> bool:
    """Tell whether there is news after ``decide``."""
    known = _open(work.registry, work.config.name)
    return _news(known, _kind(work, run, at, known), at) is not None


def _say_broken(name: str, at: datetime, fault: str) -> str | None:
    """Page every destination there is: a model.yaml that cannot be read names none."""
    outcome, destinations = Outcome(name, at, error=fault), settings.destinations()
    found = settings.load()
    registry = Registry(found.tracking_uri, found.mlflow_url)
    try:
        known = _open(registry, name)
    except Temporary:
        notifier.send(alert.build(Kind.CONFIG_BROKEN, outcome), destinations)
        return str(Kind.CONFIG_BROKEN)
    return _say(registry, destinations, known, Kind.CONFIG_BROKEN, outcome)


def _say(
    registry: Registry, destinations: Sequence[str], known: Trouble | None, kind: Kind | None, outcome: Outcome
) -> str | None:
    news = _news(known, kind, outcome.at)
    if news is None:
        if kind is Kind.PROMOTED:
            log.info("%s", alert.build(kind, outcome).text)
        return None
    trouble = None if isinstance(news, Over) else news.trouble
    message = alert.build(trouble.kind, outcome) if trouble else alert.over(news.trouble, outcome)
    notifier.send(message, destinations)
    registry.set_note(outcome.model, "trouble", trouble.to_json() if trouble else None)
    return str(message.kind)


def _open(registry: Registry, name: str) -> Trouble | None:
    text = registry.note(name, "trouble")
    return Trouble.from_json(text) if text else None


def _news(known: Trouble | None, kind: Kind | None, at: datetime) -> Page | Over | None:
    """Return what is new. A run of an earlier time does not end a later trouble."""
    news = decide_page(known, kind, at)
    return None if isinstance(news, Over) and at < news.trouble.since else news


def _kind(work: Workspace, run: str, at: datetime, known: Trouble | None) -> Kind | None:
    """Return what a run came to. As long as a known trouble is neither worse nor over, it is that trouble."""
    tags = work.registry.run_tags(run)
    worse = known.kind if known and known.kind is not Kind.WARNING else None
    warned = tags.get(WARNING) or (tags.get(LOST) and known and not worse)
    lasting = worse or (Kind.WARNING if warned else None)
    if rolled := tags.get("rollout"):
        if rolled != Rollout.PROMOTED:
            return Kind.ROLLED_BACK if rolled == Rollout.ROLLED_BACK else Kind.HELD
        return Kind.PROMOTED_NOT_RECOVERED if tags.get("gate") == Gate.PROMOTE_NOT_RECOVERED else Kind.PROMOTED
    if judged := tags.get("gate"):
        return lasting if Gate(judged).passed else Kind.GATE_REJECTED
    if tags.get("verdict") == Decision.DATA_BAD:
        return Kind.DATA_BAD
    if tags.get("verdict") == Decision.INSUFFICIENT:
        return Kind.INSUFFICIENT if _too_long(work, at) else lasting
    # A worse trouble ends first: whoever was told of it must hear so.
    return lasting if tags.get("verdict") == Decision.RETRAIN or tags.get(WAITING) or not worse else None


def _too_long(work: Workspace, at: datetime) -> bool:
    """Tell whether every morning of the last evaluation window found too few rows."""
    begin = at - work.config.evaluation.window
    verdicts = {
        datetime.fromisoformat(tags["zeta.at"]): tags["zeta.verdict"]
        for tags in (run.data.tags for run in work.registry.runs(work.config.name))
        if "zeta.verdict" in tags
    }
    earlier = max((moment for moment in verdicts if moment <= begin), default=None)
    since = [verdict for moment, verdict in verdicts.items() if earlier and earlier <= moment <= at]
    return bool(since) and set(since) == {Decision.INSUFFICIENT}


def _outcome(
    work: Workspace, run: str, at: datetime, kind: Kind | None, failed: str | None, error: str | None
) -> Outcome:
    config, read = work.config, work.registry.read
    found = _decoded(read(run, "evaluation.json"), Evaluation)
    judged = _decoded(read(run, "gate.json"), Judgement)
    rolled = _decoded(read(run, "rollout.json"), Verdict)
    decided = _decoded(read(run, decision.FILE), Verdict)
    last = rolled or (judged.verdict if judged else None) or decided
    reasons = last.reasons if last and not failed else ()
    if kind is Kind.WARNING:
        reasons = tuple(work.registry.run_tags(run).get(WARNING, "").split("; "))
    champion = work.registry.aliased(config.name, CHAMPION)
    gain = judged.evidence.gains.get(CHAMPION) if judged else None
    reference = work.score.from_loss(float(champion.tag("reference_loss"))) if champion else None
    slices = [Slice(one.column, one.value, one.score, None, one.rows) for one in found.slices] if found else []
    return Outcome(
        model=config.name, at=at, owner=config.owner, score_name=config.evaluation.score, better=work.score.better,
        version=champion.number if champion else None, challenger=judged.challenger if judged else None,
        reasons=reasons, labels_in=config.data.matures_after,
        score=found.score if found else None, reference=reference,
        interval=(found.low, found.high) if found and found.low is not None and found.high is not None else None,
        challenger_score=judged.scores.get(CHALLENGER) if judged else None,
        difference=gain.estimate if gain else None, lower_bound=gain.low if gain else None,
        slices=tuple(judged.slices if judged and judged.slices else slices),
        step=failed, error=error, links=_links(work, run, champion),
    )  # fmt: skip


def _links(work: Workspace, run: str, champion: Version | None) -> tuple[tuple[str, str], ...]:
    registry, airflow_run = work.registry, os.environ.get("ZETA_AIRFLOW_RUN")
    links = [("Airflow run", airflow_run)] if airflow_run else []
    links.append(("MLflow run", registry.link(run)))
    if champion:
        links.append(("Score over time", f"{registry.link(registry.monitor(champion))}/model-metrics"))
    return tuple(links)


def _decoded(text: str | None, type_: type[T]) -> T | None:
    return msgspec.json.decode(text, type=type_) if text else None
