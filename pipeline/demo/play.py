"""Plays the story through a real scheduler and registry, and checks what came of every morning."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline import installation, settings, workspace
from pipeline.adapters import airflow, services
from pipeline.adapters.registry import CHAMPION
from pipeline.demo import titles
from pipeline.demo.inbox import Inbox
from pipeline.demo.story import BROKEN, MORNINGS, Morning
from pipeline.errors import ConfigError, Permanent
from pipeline.evaluation import Evaluation
from pipeline.rollout import Release
from pipeline.settings import Settings

MARK = "demo"
_STATE = ("airflow", "mlflow", "images", "unpacked", "releases", "run", "log")
_ASKED = 100
_WIDTH = 150


@dataclass
class Chapter:
    """What came of a morning; ``faults`` say what was expected instead."""

    morning: Morning
    tags: dict[str, str] = field(default_factory=dict)
    score: str = ""
    release: Release | None = None
    answers: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)


def play() -> None:
    """Play every morning, print what came of it, and stop the platform; Permanent when anything was not as expected."""
    found = settings.load()
    _start_over(found)
    with Inbox() as inbox:
        os.environ["ZETA_ALERT_ONCALL"] = inbox.url
        installation.prepare(found)
        try:
            services.up(found, schedules=False)
            airflow.wait_for_dags(found, {morning.model for morning in MORNINGS})
            with _progress() as progress, ThreadPoolExecutor() as threads:
                models = [list(mornings) for _, mornings in groupby(MORNINGS, lambda morning: morning.model)]
                played = threads.map(lambda mornings: _play_model(found, mornings, inbox, progress), models)
                chapters = [chapter for model in played for chapter in model]
        finally:
            installation.down()
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    console.print(_table(chapters))
    faults = [fault for chapter in chapters for fault in chapter.faults]
    if faults:
        raise Permanent("the demo did not go as it must:\n" + "\n".join(faults))
    console.print("All as expected. Look around: make up")


def _start_over(found: Settings) -> None:
    mark = found.home / MARK
    held = [name for name in _STATE if (found.home / name).exists()]
    if held and not mark.exists():
        raise ConfigError(f"{found.home} holds an installation ({', '.join(held)}); play elsewhere: ZETA_HOME=...")
    installation.down()
    for name in _STATE:
        shutil.rmtree(found.home / name, ignore_errors=True)
    for name in ("env", "anime.db"):
        (found.home / name).unlink(missing_ok=True)
    found.home.mkdir(parents=True, exist_ok=True)
    mark.touch()
    os.environ.pop("ZETA_SOURCE_ANIME", None)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress


def _play_model(found: Settings, mornings: list[Morning], inbox: Inbox, progress: Progress) -> list[Chapter]:
    chapters: list[Chapter] = []
    for morning in mornings:
        row = progress.add_task(_line(morning, "queued"), total=1)
        if morning.loses_titles:
            titles.lose_titles(found.home / "anime.db", *BROKEN)
        run = airflow.trigger(found, morning.model, morning.at)
        state = airflow.wait(found, morning.model, run, on_look=partial(_show, progress, row, morning))
        chapter = _chapter(found, morning)
        chapter.faults += _faults(chapter, state, chapters[-1] if chapters else None, inbox)
        progress.update(row, completed=1, description=_line(morning, "NOT SO" if chapter.faults else "as expected"))
        chapters.append(chapter)
    return chapters


def _show(progress: Progress, row: TaskID, morning: Morning, run: airflow.Run) -> None:
    progress.update(row, description=_line(morning, _now(run)))


def _line(morning: Morning, state: str) -> str:
    return f"{morning.model:6}{morning.at:%Y-%m-%d}  {state:12} {morning.story}"


def _now(run: airflow.Run) -> str:
    return next((task for task, state in run.tasks.items() if state in ("running", "queued", "scheduled")), run.state)


def _chapter(found: Settings, morning: Morning) -> Chapter:
    work = workspace.load(morning.model)
    run = work.registry.run(morning.model, morning.at)
    text = work.registry.read(run, "evaluation.json")
    chapter = Chapter(morning, work.registry.run_tags(run))
    if text and (evaluation := msgspec.json.decode(text, type=Evaluation)).score is not None:
        chapter.score = f"{evaluation.score:.3f} [{evaluation.low:.3f}, {evaluation.high:.3f}]"
    chapter.release = work.platform.release(morning.model, "stable")
    if chapter.release:
        asked = titles.between(found.home / "anime.db", BROKEN[0].replace(year=2014), BROKEN[1].replace(year=2014))
        rows = [{"title": title} for title in asked[:_ASKED]]
        chapter.answers = tuple(map(str, work.platform.predict(morning.model, "stable", rows)))
    champion = work.registry.aliased(morning.model, CHAMPION)
    chapter.tags["alias"] = champion.number if champion else ""
    return chapter


def _faults(chapter: Chapter, run: airflow.Run, before: Chapter | None, inbox: Inbox) -> list[str]:
    morning, tags, release = chapter.morning, chapter.tags, chapter.release
    promoted = morning.rollout is not None
    seen: dict[str, tuple[Any, list[Any]]] = {
        "the run in Airflow": (run.state, ["success"]),
        "train in Airflow": (run.tasks.get("train"), ["success" if morning.gate else "skipped"]),
        "verdict": (tags.get("verdict"), [morning.verdict]),
        "gate": (tags.get("gate"), list(morning.gate) or [None]),
        "roll-out": (tags.get("rollout"), [morning.rollout]),
        "champion": (tags.get("alias"), [morning.champion]),
        "release": (release and release.version, [morning.champion]),
        "the page": (morning.page is None or inbox.has(morning.model, morning.page), [True]),
    }
    if before:
        seen["served answers changed"] = (chapter.answers != before.answers, [promoted])
    return [
        f"{morning.model} {morning.at:%Y-%m-%d}: {what} is {value!r}, expected {' or '.join(map(repr, expected))}"
        for what, (value, expected) in seen.items()
        if value not in expected
    ]


def _table(chapters: list[Chapter]) -> Table:
    table = Table(title="What the mornings came to", title_justify="left", box=SIMPLE_HEAD)
    for column in ("model", "morning", "score [95 %]", "verdict", "gate", "version", "digest", "release"):
        table.add_column(column)
    for chapter in chapters:
        release = chapter.release
        table.add_row(
            chapter.morning.model, f"{chapter.morning.at:%Y-%m-%d}", chapter.score or "no champion yet",
            chapter.tags.get("verdict"), chapter.tags.get("gate", ""), release.version if release else "",
            release.digest.removeprefix("sha256:")[:12] if release else "", release.address if release else "nothing",
        )  # fmt: skip
    return table
