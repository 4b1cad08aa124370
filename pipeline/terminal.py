"""What the commands have in common: their arguments, how they log, how they read a time, how an error is told."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.errors import ConfigError, ZetaError

Name = Annotated[str, typer.Argument(help="The model: a folder in models/.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="Models.", show_default="all")]
At = Annotated[str, typer.Option(help="The logical time, ISO 8601.", show_default="now")]


@contextmanager
def told() -> Iterator[None]:
    """Log to stderr; an error of Zeta's own becomes one message there, and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "mlflow", "alembic", "urllib3", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ |= {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    try:
        yield
    except ZetaError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def moment(text: str) -> datetime:
    """Return a time with its zone (UTC when none is given); now for no text."""
    try:
        found = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise ConfigError(f"--at {text!r}: expected ISO 8601, such as 2026-03-03T05:00:00+09:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
