"""The page for whoever reviews a judgement: report.html of the run, made from what the gate found."""

import msgspec

from pipeline import decision, report
from pipeline.adapters.registry import CHALLENGER, CHAMPION, Version
from pipeline.charts import ScoredDay
from pipeline.data import Window, as_date
from pipeline.evaluation import shown
from pipeline.judgement import BASELINE, Judgement
from pipeline.report import Alarm, Report
from pipeline.verdict import Gate, Verdict
from pipeline.workspace import Workspace


def page(work: Workspace, run: str, judged: Judgement, challenger: Version) -> str:
    """Return the page as HTML."""
    champion = work.registry.version(work.config.name, judged.champion) if judged.champion else None
    config, record, scores, gains = work.config, judged.record, judged.scores, judged.evidence.gains
    training_end, gate_end = int(challenger.tag("training_end")), int(challenger.tag("gate_end"))
    return report.render(Report(
        model=config.name, owner=config.owner, at=challenger.at, run=run,
        outcome=Gate(judged.verdict.outcome), reasons=judged.verdict.reasons,
        score_name=config.evaluation.score, better=work.score.better,
        look=judged.evidence.look, alpha=1 - config.gate.confidence, pairs=judged.evidence.pairs.get(CHAMPION),
        challenger=challenger.number, challenger_score=scores[CHALLENGER],
        training=Window(training_end - record.profile.days, training_end), training_rows=record.rows,
        gate=Window(training_end, gate_end), gate_rows=judged.evidence.rows,
        fingerprint=challenger.tag("fingerprint"), data_hash=record.data, commit=challenger.tags.get("commit"),
        baseline=config.gate.baseline, baseline_score=scores[BASELINE], baseline_gain=gains[BASELINE],
        baseline_margin=config.gate.baseline_margin, slice_margin=config.gate.slice_margin,
        champion=judged.champion, champion_score=scores.get(CHAMPION), gain=gains.get(CHAMPION),
        history=_history(work, champion, gate_end) if champion else (),
        alarm=_alarm(work, run, champion, gate_end) if champion else None,
        slices=tuple(judged.slices),
        seeds={int(seed): work.score.from_loss(loss) for seed, loss in record.losses.items()}, kept_seed=record.seed,
        timings={f"fit, seed {seed}": seconds for seed, seconds in record.seconds.items()},
        links=(("MLflow run", work.registry.link(run)),),
    ))  # fmt: skip


def _history(work: Workspace, champion: Version, end: int) -> tuple[ScoredDay, ...]:
    score, reference = work.score, float(champion.tag("reference_loss"))
    days = []
    for point in work.registry.points(champion):
        if point.day < end:
            at = shown(score, point, reference)
            day = as_date(point.day)
            days.append(
                ScoredDay(day, at["score"], at["score_low"], at["score_high"], at["reference"], champion.number)
            )
    return tuple(days)


def _alarm(work: Workspace, run: str, champion: Version, end: int) -> Alarm | None:
    text = work.registry.read(run, decision.FILE)
    numbers = msgspec.json.decode(text, type=Verdict).numbers if text else {}
    days = [point.day for point in work.registry.points(champion) if point.day < end]
    if not days or numbers.get("evidence", 0) <= 1:
        return None
    return Alarm(as_date(days[-1]), numbers["evidence"])
