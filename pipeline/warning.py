"""The early warning: where labels mature late, the rows of each morning that have none yet are looked at.

It only ever warns: what is written here is read by whoever announces a run, never by a verdict. If it cannot be made,
it alone is lost, and the log and the run's tag ``warning_lost`` say why.
"""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline import checks, data, outlook, training
from pipeline.adapters.registry import Version
from pipeline.checks import Profile
from pipeline.data import Window
from pipeline.evaluation import Subject, among
from pipeline.figures import figure
from pipeline.outlook import EXPECTED, INPUTS, PREDICTIONS, Reference, Sums, View
from pipeline.tally import Point
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)
WARNING, LOST = "warning", "warning_lost"
"""Tags of a run: what is warned of, and why nobody knows whether there is anything; empty otherwise."""
_FILE = "outlook.json"


def watch(work: Workspace, run: str, champion: Version, subject: Subject, at: datetime) -> None:
    """Look at the rows that have no labels yet; record in the run what there is to warn of.

    ``subject`` is the champion as it answers; after a fault of it, it may be of no more use.
    """
    if not work.config.data.matures_after or champion.tag("score") != work.config.evaluation.score:
        return
    told, lost, metrics = "", "", dict[str, float]()
    try:
        told, metrics = _look(work, champion, subject, at)
    # Whatever it is: nothing but the warning depends on it.
    except Exception as error:
        log.exception("%s: the early warning is lost", work.config.name)
        lost = f"{type(error).__name__}: {error}"[:1000]
    if told:
        log.warning("%s: early warning: %s", work.config.name, told)
    work.registry.record(run, {WARNING: told, LOST: lost}, metrics)


def _look(work: Workspace, champion: Version, subject: Subject, at: datetime) -> tuple[str, dict[str, float]]:
    config, gate_end, end = work.config, int(champion.tag("gate_end")), data.day_of(at, work.config)
    reference = _reference(work, champion, subject)
    # The last series is written last, so where it ends all do.
    known = [point.day + 1 for point in _points(work, champion, reference.series[-1], end)]
    since = Window(max([gate_end, *known]), end)
    if since.days:
        counts, profiles = _count(work, champion, subject, since, labelled=False)
        _extend(work, champion, since, counts, profiles, reference)
    held = {name: _points(work, champion, name, end) for name in reference.series}
    features = {name: points for name, points in held.items() if name.startswith(f"{INPUTS}_")}
    series = {name: points for name, points in held.items() if name not in features}
    series[INPUTS] = outlook.largest(list(features.values()))
    views = outlook.views(series, gate_end, data.matured_end(at, config), config)
    metrics = {f"{name}_evidence": view.evidence for name, view in views.items()}
    trust = outlook.trust(series.get(EXPECTED, []), _points(work, champion, "", end), gate_end)
    metrics |= {"expected_error": trust[0]} if trust else {}
    told = [_sentence(work, name, view, features) for name, view in views.items() if view.evidence > 1]
    if told and trust:
        told.append(f"on {trust[1]} points that have labels now, expected less true score is {trust[0]:+.3f}")
    return "; ".join(told), metrics


def _sentence(work: Workspace, name: str, view: View, features: dict[str, list[Point]]) -> str:
    points = view.alarming
    days = Window(points[0].day - points[0].days + 1, points[-1].day + 1)
    told = f"on {days} (evidence {view.evidence:.2f}, warning above 1)"
    if name == EXPECTED:
        score = work.config.evaluation.score
        now, usual = (figure(work.score.from_loss(loss)) for loss in (_mean(points), view.state.reference))
        return f"expected {score} {now}, {usual} at the gate, {told}"
    if name == PREDICTIONS:
        return f"predictions are {_mean(points):.2f} apart from those at the gate {told}"
    ends = {point.day for point in points}
    means = {feature: _mean([one for one in held if one.day in ends]) for feature, held in features.items()}
    worst = max(means, key=means.__getitem__)
    return f"{worst.removeprefix(f'{INPUTS}_')} is {means[worst]:.2f} apart from that at the gate {told}"


def _mean(points: list[Point]) -> float:
    return float(np.average([point.loss for point in points], weights=[point.rows for point in points]))


def _points(work: Workspace, champion: Version, name: str, end: int) -> list[Point]:
    found = work.registry.points(champion, f"{name}_" if name else "")
    return [point for point in found if point.day < end]


def _reference(work: Workspace, champion: Version, subject: Subject) -> Reference:
    """Return what is known of the gate's rows; the first time, learn it and begin the series with their points."""
    monitor = work.registry.monitor(champion)
    if text := work.registry.read(monitor, _FILE):
        return msgspec.json.decode(text, type=Reference)
    gate = Window(int(champion.tag("training_end")), int(champion.tag("gate_end")))
    counts, profiles = _count(work, champion, subject, gate, labelled=True)
    bad = checks.bad_days(profiles, _usual(work, champion), work.config)
    good = {day: profile for day, profile in profiles.items() if day not in bad}
    found = outlook.reference(outlook.total(counts, good))
    _extend(work, champion, gate, counts, good, found)
    # Last, so that what was cut short is made anew.
    work.registry.write(monitor, _FILE, msgspec.json.encode(found).decode())
    return found


def _extend(
    work: Workspace,
    champion: Version,
    window: Window,
    counts: dict[int, Sums],
    profiles: dict[int, Profile],
    reference: Reference,
) -> None:
    """Add the points of a window to the series. The gate's are each compared with the rest of the gate's rows."""
    config, usual, made = work.config, _usual(work, champion), []
    for days, span, complete in checks.pools(profiles, window.first, window.end, config.evaluation.minimum_rows):
        if complete and not checks.volume_faults(checks.pool(profiles, days, span), usual, config.data.checks):
            sums = outlook.total(counts, days)
            others = reference.without(sums) if window.end == int(champion.tag("gate_end")) else reference
            made.append(others.points(sums, days[-1], span))
    for name in reference.series:
        points = [one[name] for one in made]
        shown = [{"expected_score": work.score.from_loss(point.loss)} if name == EXPECTED else {} for point in points]
        work.registry.add_points(champion, points, shown, f"{name}_")


def _count(
    work: Workspace, champion: Version, subject: Subject, window: Window, labelled: bool
) -> tuple[dict[int, Sums], dict[int, Profile]]:
    """Return sums and profiles of a window's days, without rows that the champion was trained on."""
    seen = np.load(work.unpacked(champion.tag("digest")) / "model" / "keys.npy", allow_pickle=False)
    counts: dict[int, Sums] = {}
    profiles: dict[int, Profile] = {}
    for batch in data.read(work.source, work.config, window):
        rows = batch[~among(batch[data.KEY].to_numpy(np.uint64), seen)]
        for day, profile in Profile.by_day(rows, work.config).items():
            profiles[day] = (profiles[day] + profile).spanning(1) if day in profiles else profile
        if len(rows):
            _add(work, subject, rows, labelled, counts)
    return counts, profiles


def _add(work: Workspace, subject: Subject, rows: "DataFrame", labelled: bool, counts: dict[int, Sums]) -> None:
    config, score, right = work.config, work.score, np.full(len(rows), np.nan)
    given = data.inputs(rows, dict(subject.features))
    predictions = subject.predict(given, "labels", 1)
    features = {str(name): values.tolist() for name, values in given.items()}
    confidence = None
    if config.task == "classification" and score.binary:
        confidence = subject.predict(given, "confidence", 1)
        if labelled:
            answers = predictions if score.output == "labels" else subject.predict(given, score.output, score.k)
            truth, known = rows[config.data.label].to_numpy(), rows[config.data.label].notna().to_numpy()
            right[known] = np.asarray(score.rows(truth[known], answers[known]))[:, 1]
    outlook.add(counts, rows[data.DAY].to_numpy(), predictions, features, confidence, right)


def _usual(work: Workspace, champion: Version) -> Profile:
    return training.record(work.unpacked(champion.tag("digest")) / "model").profile
