"""`zeta backtest`: every morning of a span, lived again from the database, without registry, image or deployment."""

from datetime import date
from pathlib import Path

from pipeline import workspace
from pipeline.backtest import play, report
from pipeline.errors import ConfigError


def run(name: str, first: str, last: str, out: Path | None) -> None:
    """Replay the mornings of the days ``first`` to ``last`` (ISO 8601), print what came of them, and write the files.

    By default into $ZETA_HOME/backtest/NAME.
    """
    days = _day("--from", first), _day("--to", last)
    if days[1] < days[0]:
        raise ConfigError(f"--from {first} --to {last}: expected the first day before the last")
    work = workspace.load(name)
    found = play.play(work, *days)
    report.show(found)
    for file in report.write(found, out or work.settings.home / "backtest" / name):
        print(file)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: expected a day in ISO 8601, such as 2013-01-01") from error
