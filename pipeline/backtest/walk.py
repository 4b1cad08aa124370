"""Zeta's policy in a backtest: the steps of a run, one morning after the other, with everything in memory."""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from pipeline import checks, control, data, decision, evaluation, training
from pipeline.adapters.registry import CHAMPION
from pipeline.backtest import contest
from pipeline.backtest.fit import Fitted, fit, loss
from pipeline.backtest.outcome import Cost, Morning
from pipeline.checks import Profile
from pipeline.data import Window
from pipeline.decision import Inputs, Row
from pipeline.detection import WAITING
from pipeline.errors import DataError
from pipeline.evaluation import Evaluation, Scored
from pipeline.evidence import Frozen
from pipeline.gap import Gap
from pipeline.hearing import Hearing
from pipeline.tally import Point
from pipeline.verdict import Decision, Gate
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Champion:
    """A version in production: its loss at deployment, its history, and its scores on all rows until the span's end."""

    number: str
    fitted: Fitted
    loss: float | None
    history: list[Point]
    slices: dict[str, list[Point]]
    scored: Scored
    gaps: list[Point] = field(default_factory=list)

    def split(self) -> tuple[list[Row], list[Row]]:
        """Return its reference, and the points since."""
        return decision.split(self.history, self.fitted.windows.gate.end)


@dataclass(frozen=True)
class PooledDays:
    """Days that hold ``rows`` labelled rows, ``span`` calendar days up to the last of them."""

    days: list[int]
    span: int
    rows: int

    @property
    def first(self) -> int:
        """The first calendar day."""
        return self.days[-1] + 1 - self.span


class Walk:
    """Lives one morning after the other; day ``end`` is the first whose labels even the last may not know.

    A champion's rows until then are read and scored once, when it is promoted; each morning sees those that it may.
    From the first promotion on, ``pools`` are the days on which policies are compared; ``never`` the first version's
    losses on them, ``losses`` Zeta's as far as they are settled.
    """

    def __init__(self, work: Workspace, end: int) -> None:
        self._work, self._end = work, end
        # One for all: a score that numbers its classes does so for good.
        self._score = work.score
        self._retrained: datetime | None = None
        self._first_loss: float | None = None
        self._looks: list[Window] = []
        self._earlier: list[list[Row]] = []
        self._control: control.Fitted | None = None
        self.champion: Champion | None = None
        self.costs: list[Cost] = []
        self.first_cost = Cost(0, 0.0)
        self.pools: list[PooledDays] = []
        self.never: list[float | None] = []
        self.losses: list[float | None] = []

    def live(self, at: datetime) -> Morning:
        """Do what the run at ``at`` would do."""
        champion, end = self.champion, data.matured_end(at, self._work.config)
        found = self._evaluate(champion, end) if champion else None
        if champion and found:
            champion.history.extend(found.points)
            champion.gaps.extend(found.gaps)
            for name, points in found.slice_points.items():
                champion.slices.setdefault(name, []).extend(points)
        verdict = decision.decide(self._inputs(at, champion, found))
        degraded = verdict.outcome == Decision.RETRAIN or WAITING in verdict.numbers
        told = Morning(
            at=at, champion=champion.number if champion else None, verdict=Decision(verdict.outcome),
            reasons=verdict.reasons, numbers=verdict.numbers, alarm=champion is not None and degraded,
            score=found.score if found else None, points=len(found.points) if found else 0,
        )  # fmt: skip
        return self._retrain(told, end) if verdict.outcome == Decision.RETRAIN else told

    def settle(self, before: int) -> None:
        """Write down the champion's losses on the pools that begin before a day."""
        begun = [pool for pool in self.pools[len(self.losses) :] if pool.first < before]
        if self.champion:
            tally = self.champion.scored.tallies[CHAMPION]
            self.losses += [loss(tally, pool.days) for pool in begun]

    def _evaluate(self, champion: Champion, end: int) -> Evaluation:
        config, fitted = self._work.config, champion.fitted
        since = max([fitted.windows.gate.end, *(point.day + 1 for point in champion.history)])
        window = Window(max(end - data.whole_days(config.evaluation.window), fitted.windows.training.end), end)
        read = range(min(window.first, since), end)
        profiles = {day: profile for day, profile in champion.scored.profiles.items() if day in read}
        tally = champion.scored.tallies[CHAMPION]
        gap = self._gap(fitted, since, end) if config.evaluation.control and since < end else None
        return evaluation.evaluate(tally, profiles, fitted.record.profile, config, since, window, gap)

    def _gap(self, fitted: Fitted, since: int, end: int) -> Gap | None:
        """Hold the champion against a control that serves; None when there are too few rows to fit one."""
        work = self._work
        if self._control is None or not control.serves(work, self._control.end, since):
            try:
                self._control = control.fit(work, since, fitted.record.profile)
            except DataError:
                return None
        rows, subjects = data.read(work.source, work.config, Window(since, end)), {CHAMPION: fitted.subject}
        fresh = self._control.control
        return evaluation.score_rows(rows, subjects, self._score, work.config, fitted.seen, CHAMPION, fresh).gap

    def _inputs(self, at: datetime, champion: Champion | None, found: Evaluation | None) -> Inputs:
        config = self._work.config
        reference, since = champion.split() if champion else ([], [])
        return Inputs(
            at=at, score=config.evaluation.score, rule=config.degradation.model_dump(),
            minimum_rows=config.evaluation.minimum_rows, cooldown=config.training.cooldown, retrained=self._retrained,
            champion=champion.number if champion else None, evaluation=decision.seen(found) if found else None,
            reference=reference, since=since, earlier=list(self._earlier),
            gaps=decision.rows(champion.gaps) if champion and config.evaluation.control else None,
            slices=decision.divided(champion.slices, champion.fitted.windows.gate.end) if champion else {},
            first=self._first_loss if self._earlier else None,
        )  # fmt: skip

    def _retrain(self, told: Morning, end: int) -> Morning:
        champion = self.champion.fitted if self.champion else None
        windows = training.split(self._work.config, end)
        try:
            challenger = fit(self._work, windows, champion.record.profile if champion else None)
        except DataError as error:
            return msgspec.structs.replace(told, failed=str(error))
        self.costs.append(challenger.cost)
        self._retrained, number = told.at, str(len(self.costs))
        frozen = Frozen(self._first_loss, self.champion.loss if self.champion else None)
        judged = contest.judge(self._work, self._score, challenger, champion, self._looks, frozen)
        outcome = Gate(judged.verdict.outcome)
        if outcome != Gate.INSUFFICIENT:
            self._looks.append(windows.gate)
        if outcome.passed:
            self._promote(number, challenger, judged, data.day_of(told.at, self._work.config))
        return msgspec.structs.replace(told, challenger=number, gate=outcome, gate_reasons=judged.verdict.reasons)

    def _promote(self, number: str, challenger: Fitted, judged: Hearing, day: int) -> None:
        self.settle(day)
        self._looks.clear()
        if self.champion:
            self._earlier.append(self.champion.split()[0])
        config, to_come = self._work.config, Window(challenger.windows.training.end, self._end)
        rows = data.read(self._work.source, config, to_come)
        scored = evaluation.score_rows(
            rows, {CHAMPION: challenger.subject}, self._score, config, challenger.seen, CHAMPION
        )
        first = self.champion is None
        self.champion = Champion(
            number, challenger, judged.evidence.loss, list(judged.points), dict(judged.slice_points), scored
        )
        if first:
            self._first_loss, self.first_cost = judged.evidence.loss, challenger.cost
            tally = scored.tallies[CHAMPION]
            counts = {one: int(tally.matrix([one])[0, 0]) for one in tally.days()}
            self.pools = _pools(counts, Window(day, self._end), config.evaluation.minimum_rows)
            self.never = [loss(tally, pool.days) for pool in self.pools]


def _pools(counts: dict[int, int], window: Window, rows: int) -> list[PooledDays]:
    """Pool the days of a window, of so many labelled rows each, as those of a history are."""
    profiles = {day: Profile(1, count, {}, {}) for day, count in counts.items()}
    return [
        PooledDays(days, span, sum(counts[day] for day in days))
        for days, span, complete in checks.pools(profiles, window.first, window.end, rows)
        if complete
    ]
