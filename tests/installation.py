"""An installation of a test's own: a home, models and their rows, beside the MLflow server that all tests share."""

import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline import morning, settings, workspace
from pipeline.adapters.registry import Registry
from pipeline.adapters.runs import unprefixed
from pipeline.data import EPOCH
from pipeline.demo import titles
from pipeline.installation import local_platform
from pipeline.settings import ROOT
from tests import parts
from tests.ports import free_port

BEGIN = datetime(2026, 1, 1, 5, tzinfo=UTC)
BOOTSTRAP, KEEP, HOPELESS, RECOVERED = 26, 29, 42, 58
"""Days after BEGIN: the first training; a score that holds; degraded, when too few rows are new to learn from them;
degraded, when all rows of the training window are new."""
COMMIT = "0123456789012345678901234567890123456789"
_TURN_DAY, _DAYS, _ROWS_A_DAY = 33, 75, 40
# What the words of a title mean, from the day of the turn on.
_TURN = {"本": "家電", "家電": "文具", "文具": "本"}
_TOY = {
    "evaluation": {"score": "accuracy", "minimum_rows": 40, "window": "4d", "slices": ["channel"]},
    "degradation": {"smallest_drop": 0.05},
    "training": {"window": "16d", "seeds": 1, "cooldown": "2d"},
    "gate": {"baseline": "most_frequent", "window": "8d"},
    "alerts": ["oncall"],
}
_number = itertools.count(1)


def at(day: int) -> datetime:
    """Return the morning of a day after BEGIN."""
    return BEGIN + timedelta(days=day)


@dataclass(frozen=True)
class Installation:
    """Its models have names that no other test has. ``environment`` makes this process, or another one, use it."""

    folder: Path
    tracking_uri: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ZETA_HOME": str(self.home),
            "ZETA_MODELS": str(self.folder / "models"),
            "ZETA_MODEL_PORT": str(free_port()),
            "ZETA_SOURCE_ROWS": f"sqlite:///{self.folder / 'rows.db'}",
            "ZETA_SOURCE_ANIME": f"sqlite:///{self.folder / 'anime.db'}",
            "ZETA_MLFLOW_PORT": self.tracking_uri.rpartition(":")[2],
            "ZETA_COMMIT": COMMIT,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "NO_PROXY": "127.0.0.1",
        }

    @property
    def registry(self) -> Registry:
        return Registry(self.tracking_uri)

    def toy(self, **changes) -> str:
        """Add a tiny model; return its name. ``changes`` are laid over the sections of its model.yaml."""
        if not (self.folder / "rows.db").exists():
            rows().to_sql("listings", f"sqlite:///{self.folder / 'rows.db'}", index=False)
        name = f"toy-{next(_number)}"
        folder = self.folder / "models" / name
        folder.mkdir(parents=True)
        values = parts.VALUES | _TOY | {"name": name}
        values |= {key: values.get(key, {}) | change for key, change in changes.items() if isinstance(change, dict)}
        values |= {key: change for key, change in changes.items() if not isinstance(change, dict)}
        (folder / "model.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        (folder / "model.py").write_text(parts.CODE, encoding="utf-8")
        (folder / "rows.sql").write_text("SELECT * FROM listings WHERE at >= :start AND at < :end ORDER BY at, item_id")
        return name

    def shipped(self, model: str) -> str:
        """Add a model that comes with Zeta, and the titles; return its name here."""
        if not (self.folder / "anime.db").exists():
            titles.write(self.folder / "anime.db")
        name = f"{model}-{next(_number)}"
        folder = self.folder / "models" / name
        shutil.copytree(ROOT / "models" / model, folder, ignore=shutil.ignore_patterns("__pycache__"))
        text = (folder / "model.yaml").read_text(encoding="utf-8")
        (folder / "model.yaml").write_text(text.replace(f"name: {model}\n", f"name: {name}\n"), encoding="utf-8")
        return name

    def change_rows(self, statement: str, *values) -> None:
        """Change the toy's rows."""
        with closing(sqlite3.connect(self.folder / "rows.db")) as database:
            database.execute(statement, values)
            database.commit()

    def zeta(self, *arguments, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``zeta``."""
        return subprocess.run(
            [zeta(), *map(str, arguments)], env=os.environ | variables, capture_output=True, text=True, check=False
        )

    def ask(self, name: str, rows: list[dict]) -> list:
        """Return what the model that serves answers."""
        return workspace.load(name).platform.predict(name, "stable", rows)

    def address(self, name: str) -> str:
        """Return where the model that serves answers."""
        return workspace.load(name).platform.release(name, "stable").address

    def served(self, name: str) -> dict:
        """Return what the server says that it serves."""
        return httpx.get(self.address(name), trust_env=False, timeout=60).json()

    def seen(self, name: str) -> dict:
        """Return all that runs have left of a model, in the registry and on the platform, but for times and ids."""
        registry, platform = self.registry, workspace.load(name).platform
        model, versions = registry.client.get_registered_model(name), registry.versions(name)
        runs = {run.data.tags["zeta.at"]: run for run in registry.runs(name)}
        releases = {role: platform.release(name, role) for role in ("stable", "canary")}
        return {
            "versions": {version.number: dict(version.tags) for version in versions},
            "aliases": {alias: str(number) for alias, number in model.aliases.items()},
            "notes": {key: value for key, value in model.tags.items() if value},
            "runs": {moment: unprefixed(run.data.tags) for moment, run in runs.items()},
            "statuses": {moment: run.info.status for moment, run in runs.items()},
            "metrics": {moment: run.data.metrics for moment, run in runs.items()},
            "points": {version.number: [asdict(point) for point in registry.points(version)] for version in versions},
            "slices": {version.number: registry.slices(version) for version in versions},
            "releases": {role: found and (found.version, found.digest) for role, found in releases.items()},
        }


@contextmanager
def opened(folder: Path, tracking_uri: str) -> Iterator[Installation]:
    """Give an installation that this process uses; what it has started is stopped at the end."""
    made = Installation(folder, tracking_uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for variable, value in made.environment.items():
            patch.setenv(variable, value)
        try:
            yield made
        finally:
            platform = local_platform(settings.load())
            for release in (made.home / "releases").glob("*/"):
                platform.stop(release.name)


def run(name: str, *days: int) -> dict:
    """Run the mornings of these days in this process; return the last one's answers."""
    return [morning.run(name, at(day)) for day in days][-1]


def rows():
    """Return the toy's rows as a DataFrame, times as texts."""
    found = parts.listings((BEGIN.date() - EPOCH).days, _DAYS, _ROWS_A_DAY)
    late = found["at"] >= at(_TURN_DAY).replace(hour=0, tzinfo=None)
    found.loc[late, "category"] = found.loc[late, "category"].map(_TURN)
    return found.assign(at=found["at"].map(lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S")))


def zeta() -> str:
    """Return the command that is installed beside this Python."""
    return str(Path(sys.executable).with_name("zeta"))
