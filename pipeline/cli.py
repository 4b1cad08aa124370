"""The command line: ``zeta``. Each step prints one JSON object, identifiers only; what people read goes to stderr."""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pipeline.errors import ConfigError, ZetaError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Keeps a fleet of supervised models healthy in production.",
)  # fmt: skip
Name = Annotated[str, typer.Argument(help="the model: a folder in models/", show_default=False)]
At = Annotated[str, typer.Option(help="the logical time, ISO 8601; now when left out")]


def main() -> None:
    """Run a command; an error of Zeta's own is one message and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "mlflow", "alembic", "urllib3", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    try:
        app()
    except ZetaError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _step(function: Callable[..., dict[str, Any]], name: str, at: str, **options: Any) -> None:
    from pipeline import workspace

    print(json.dumps(function(workspace.load(name), moment(at), **options)))


def moment(text: str) -> datetime:
    """Return a time with its zone (UTC when none is given); now for no text."""
    try:
        found = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise ConfigError(f"--at {text!r}: expected ISO 8601, such as 2026-03-03T05:00:00+09:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@app.command(rich_help_panel="Steps")
def evaluate(name: Name, at: At = "") -> None:
    """Score the champion on fresh labelled rows."""
    from pipeline import steps

    _step(steps.evaluate, name, at)


@app.command(rich_help_panel="Steps")
def decide(name: Name, at: At = "") -> None:
    """Judge the champion: keep, retrain, data_bad or insufficient."""
    from pipeline import steps

    _step(steps.decide, name, at)


@app.command(rich_help_panel="Steps")
def train(name: Name, at: At = "") -> None:
    """Train a challenger and register it."""
    from pipeline import steps

    _step(steps.train, name, at)


@app.command(rich_help_panel="Steps")
def gate(name: Name, at: At = "") -> None:
    """Compare challenger, champion and simple baseline on unseen rows."""
    from pipeline import steps

    _step(steps.gate, name, at)


@app.command(rich_help_panel="Steps")
def build_image(name: Name, at: At = "") -> None:
    """Build the image of the challenger."""
    from pipeline import steps

    _step(steps.build_image, name, at)


@app.command(rich_help_panel="Steps")
def roll_out(name: Name, at: At = "") -> None:
    """Roll the challenger out behind a canary."""
    from pipeline import steps

    _step(steps.roll_out, name, at)


@app.command(rich_help_panel="Steps")
def announce(
    name: Name,
    at: At = "",
    failed: Annotated[str, typer.Option(help="the step that failed")] = "",
    error: Annotated[str, typer.Option(help="what it said")] = "",
) -> None:
    """Page the on-call when there is news."""
    from pipeline import announcement

    print(json.dumps(announcement.announce(name, moment(at), failed or None, error or None)))


@app.command()
def run(name: Name, at: At = "") -> None:
    """Do all steps of one run, as the scheduler would."""
    from pipeline import morning

    print(json.dumps(morning.run(name, moment(at))))
