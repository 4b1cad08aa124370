"""Plays a backtest: Zeta's mornings here, the refits of the policy that always retrains in processes of their own."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from multiprocessing import get_context
from zoneinfo import ZoneInfo

from croniter import croniter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline import data, decision
from pipeline.backtest.outcome import ALWAYS, NEVER, ZETA, Backtest, Cost, Morning, Pool
from pipeline.backtest.refit import Refitted, refit
from pipeline.backtest.walk import PooledDays, Walk
from pipeline.config import ModelConfig
from pipeline.data import Window, as_date
from pipeline.errors import ConfigError, DataError
from pipeline.workspace import Workspace, commit


@dataclass(frozen=True)
class Refit:
    """A refit on the newest rows before day ``end``, and the pools (by index) that began while it served."""

    end: int
    pools: range


def play(work: Workspace, first: date, last: date, processes: int | None = None) -> Backtest:
    """Replay the mornings of the days ``first`` to ``last``; by default on all cores.

    Raises ConfigError for a span without mornings, DataError for one without rows or without a first version.
    """
    config, moments = work.config, mornings(work.config, first, last)
    end = data.matured_end(moments[-1], config)
    _check_rows(work, Window(data.matured_end(moments[0], config) - data.whole_days(config.gate.window), end))
    # There are as many processes as cores: more than a thread each would only stand in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    walk = Walk(work, end)
    with ExitStack() as stack:
        workers = ProcessPoolExecutor(processes or os.cpu_count(), get_context("spawn"))
        stack.callback(workers.shutdown, cancel_futures=True)
        told, refits, results = _live(walk, config, moments, workers, stack.enter_context(_progress()))
        always = [result.result() for result in results]
    if walk.champion is None:
        raise DataError(_no_version(config, told))
    walk.settle(end)
    return Backtest(
        model=config.name, score=config.evaluation.score, better=work.score.better, first=first, last=last,
        mornings=told, pools=_pools(work, walk, refits, always), costs=_costs(walk, always),
        made_with=decision.made_with(commit()),
    )  # fmt: skip


def _live(
    walk: Walk, config: ModelConfig, moments: list[datetime], workers: ProcessPoolExecutor, progress: Progress
) -> tuple[list[Morning], list[Refit], list[Future[Refitted]]]:
    """Live every morning; as soon as there is a champion, let the workers refit."""
    told, refits, results = list[Morning](), list[Refit](), list[Future[Refitted]]()
    row = progress.add_task("mornings", total=len(moments))
    for index, at in enumerate(moments):
        told.append(walk.live(at))
        progress.advance(row)
        if walk.champion and not refits:
            refits = schedule(config, walk.pools, moments[index + 1 :])
            results = _submit(workers, config.name, refits, walk.pools, progress)
    return told, refits, results


def mornings(config: ModelConfig, first: date, last: date) -> list[datetime]:
    """Return the moments of the model's schedule on the days ``first`` to ``last``; ConfigError when there is none."""
    zone = ZoneInfo(config.timezone)
    begin, end = (datetime.combine(day, time(), zone) for day in (first, last + timedelta(days=1)))
    times = croniter(config.schedule, begin - timedelta(seconds=1))
    found = list(itertools.takewhile(lambda at: at < end, iter(lambda: times.get_next(datetime), None)))
    if not found:
        raise ConfigError(
            f'{config.name}: no morning of the schedule "{config.schedule}" is from {first} to {last}; expected --from '
            "before --to, and one between them"
        )
    return found


def schedule(config: ModelConfig, pools: list[PooledDays], moments: list[datetime]) -> list[Refit]:
    """Return a refit for every morning that knows a pool which the one before it did not."""
    known, found = 0, list[tuple[int, int]]()
    for at in moments:
        end, day = data.matured_end(at, config), data.day_of(at, config)
        if (complete := sum(pool.days[-1] < end for pool in pools)) > known:
            known = complete
            found.append((end, sum(pool.first < day for pool in pools)))
    until = [begin for _, begin in found[1:]] + [len(pools)]
    return [Refit(end, range(begin, last)) for (end, begin), last in zip(found, until, strict=True)]


def _submit(
    workers: ProcessPoolExecutor, name: str, refits: list[Refit], pools: list[PooledDays], progress: Progress
) -> list[Future[Refitted]]:
    row, results = progress.add_task("refits of the policy 'always'", total=len(refits)), []
    for one in refits:
        result = workers.submit(refit, name, one.end, [pools[index].days for index in one.pools])
        result.add_done_callback(lambda _: progress.advance(row))
        results.append(result)
    return results


def _pools(work: Workspace, walk: Walk, refits: list[Refit], always: list[Refitted]) -> list[Pool]:
    # Until the first refit serves, the first version does.
    losses = {ZETA: walk.losses, NEVER: walk.never, ALWAYS: list(walk.never)}
    for one, refitted in zip(refits, always, strict=True):
        losses[ALWAYS][one.pools.start : one.pools.stop] = refitted.losses
    score = work.score

    def scores(index: int) -> dict[str, float | None]:
        found = {policy: known[index] for policy, known in losses.items()}
        return {policy: None if loss is None else score.from_loss(loss) for policy, loss in found.items()}

    return [
        Pool(as_date(pool.first), as_date(pool.days[-1]), pool.rows, scores(index))
        for index, pool in enumerate(walk.pools)
    ]


def _costs(walk: Walk, always: list[Refitted]) -> dict[str, Cost]:
    first, refits = walk.first_cost, [refitted.cost for refitted in always]
    return {ZETA: _sum(walk.costs), NEVER: first, ALWAYS: _sum([first, *refits])}


def _sum(costs: list[Cost]) -> Cost:
    return Cost(sum(cost.fits for cost in costs), round(sum(cost.seconds for cost in costs), 3))


def _check_rows(work: Workspace, window: Window) -> None:
    if window.days < 1 or next(data.read(work.source, work.config, window), None) is None:
        raise DataError(
            f"{work.config.name}: {work.config.data.query} gives no row in {window}; expected rows to score: choose "
            f"another span, or fill the table of {work.config.data.source}"
        )


def _no_version(config: ModelConfig, told: list[Morning]) -> str:
    reasons = (one.failed or "; ".join(one.gate_reasons) for one in reversed(told))
    return (
        f"{config.name}: no version was fit to be the first by {told[-1].at.date()}, so there is nothing to compare: "
        f"{next(filter(None, reasons))}; choose a later --to, or mend what it says"
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description:30}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress
