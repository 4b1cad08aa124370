"""The command line: ``zeta``. What it is asked for goes to stdout, the rest to stderr."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import tasks, terminal
from pipeline.errors import ConfigError, Permanent
from pipeline.terminal import At, Name, Names

if TYPE_CHECKING:
    from pipeline.verdict import Verdict

# Heavy modules are imported by the command that needs them: every task of a run starts a process.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps a fleet of supervised models healthy in production.",
)
app.add_typer(tasks.app)
First = Annotated[str, typer.Option("--from", help="The first day, such as 2013-01-01.", show_default=False)]
Last = Annotated[str, typer.Option("--to", help="The last day.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="The folder for its files.", show_default="$ZETA_HOME/backtest/NAME")]


def main() -> None:
    """Run a command."""
    with terminal.told():
        app()


@app.command()
def run(name: Name, at: At = "") -> None:
    """Do all the steps of one run, as the scheduler does."""
    from pipeline import morning

    print(json.dumps(morning.run(name, terminal.moment(at))))


@app.command()
def status(names: Names = None, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Show how every model stands."""
    from rich.console import Console

    from pipeline import fleet

    found = fleet.standings(names or [], datetime.now(UTC))
    if as_json:
        print(json.dumps(fleet.as_json(found), ensure_ascii=False))
    else:
        Console().print(fleet.table(found))


@app.command()
def digest(
    send: Annotated[bool, typer.Option("--send", help="Send it as well, to whom ZETA_DIGEST names.")] = False,
) -> None:
    """Sum up the fleet: what is not known this morning, then the models by the evidence that they have degraded."""
    from pipeline import digest, fleet, settings
    from pipeline.adapters import notifier

    settings.load()
    to = [settings.digest_destination()] if send else []
    message = digest.of(fleet.standings([], datetime.now(UTC)))
    print(message.title, message.text, sep="\n\n")
    if send:
        notifier.send(message, to)


@app.command()
def rollback(name: Name) -> None:
    """Bring the previous champion back; the two change places."""
    from pipeline import delivery, workspace

    with workspace.alone(name):
        _told(name, delivery.rollback(workspace.load(name), datetime.now(UTC)))


@app.command()
def base(kind: Annotated[str, typer.Argument(help="model, airflow, mlflow or tasks.")] = "model") -> None:
    """Build and push the image that models lie on, or one of a cluster's services; unchanged inputs build nothing."""
    from pipeline import installation

    print(installation.base(kind))


@app.command()
def promote(
    name: Name,
    version: Annotated[str, typer.Option(help="The number in the registry.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; it is kept and told.", show_default=False)],
    at: At = "",
) -> None:
    """Roll a version out that the gate did not pass."""
    from pipeline import intervention, workspace

    with workspace.alone(name):
        _told(name, intervention.promote(workspace.load(name), version, reason, terminal.moment(at)))


@app.command()
def pause(name: Name, reason: Annotated[str, typer.Option(help="Why.", show_default=False)]) -> None:
    """Score the model, but retrain nothing until it is resumed."""
    from pipeline import intervention, workspace

    intervention.pause(workspace.load(name), reason, datetime.now(UTC))


@app.command()
def resume(name: Name) -> None:
    """Let a paused model be retrained again."""
    from pipeline import intervention, workspace

    intervention.resume(workspace.load(name))


def _told(name: str, verdict: "Verdict") -> None:
    print(f"{name}: {verdict.outcome}: {'; '.join(verdict.reasons)}")
    if verdict.outcome != "promoted":
        raise Permanent(f"{name}: it was not promoted; what served before serves")


@app.command()
def check(names: Names = None, at: At = "") -> None:
    """Try a model's config, code, query, fit and predictions, and say what a first run would do."""
    from pipeline import inspection

    if not inspection.check(names or [], terminal.moment(at)):
        raise typer.Exit(ConfigError.exit_code)


@app.command()
def replay(name: Name, at: At = "") -> None:
    """Make a recorded verdict again from what it was made from: is it the same, bit for bit?"""
    from pipeline import replay, workspace

    print("\n".join(replay.replay(workspace.load(name), terminal.moment(at))))


@app.command()
def backtest(name: Name, first: First, last: Last, out: Out = None) -> None:
    """Live every morning of a span again, without deploying: what would Zeta have done, and was it worth it?"""
    from pipeline import backtest

    backtest.run(name, first, last, out)


@app.command()
def new(
    name: Name,
    task: Annotated[str, typer.Option(help="classification, multilabel, regression or retrieval.")],
    source: Annotated[str, typer.Option(help="ZETA_SOURCE_<SOURCE> holds its URL.", show_default="NAME")] = "",
    table: Annotated[str, typer.Option(help="The table or view with the rows.", show_default="SOURCE")] = "",
    key: Annotated[str, typer.Option(help="Its column that names the entity.")] = "item_id",
    time: Annotated[str, typer.Option(help="Its column that says when the row came to be.")] = "created_at",
    label: Annotated[str, typer.Option(help="Its column with the truth.")] = "label",
    text: Annotated[list[str] | None, typer.Option(help="A column of texts to learn from; may be repeated.")] = None,
    number: Annotated[list[str] | None, typer.Option(help="A column of numbers to learn from; as often.")] = None,
) -> None:
    """Write the files of a new model, which `zeta check` accepts as they are."""
    from pipeline import scaffold, settings

    columns = scaffold.Columns(key, time, label, tuple(text or ([] if number else ["title"])), tuple(number or []))
    print(*scaffold.new(name, task, settings.load().models, source, table, columns), sep="\n")


@app.command()
def schema() -> None:
    """Print the JSON schema of model.yaml, for editors."""
    from pipeline import scaffold

    print(scaffold.schema(), end="")


@app.command()
def listings(
    url: Annotated[str, typer.Argument(help="SQLAlchemy URL of the database; the table is called listings.")],
    start: Annotated[str, typer.Option(help="The first day.")] = "2026-01-01",
    days: Annotated[int, typer.Option(help="How many days.", min=1)] = 90,
    per_day: Annotated[int, typer.Option(help="Rows a day, about.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Same seed, same rows.", min=0)] = 0,
) -> None:
    """Write a made-up marketplace into a database, for scale and load. Nothing in it is real."""
    from pipeline import listings as marketplace

    first = terminal.moment(start).date()
    rows = marketplace.write(url, first, first + timedelta(days=days), per_day, seed)
    print(f"{rows} rows from {first} on")


@app.command()
def serve(
    model: Annotated[Path, typer.Option(help="The model directory.")],
    app_root: Annotated[Path, typer.Option(help="Holds models/NAME/ with the model's own code.")] = Path(),
    host: str = "127.0.0.1",
    port: int = 8100,
) -> None:
    """Serve one model over HTTP."""
    from pipeline.serving import server

    server.serve(model, app_root, server.Listeners(server.bound(host, port)))


@app.command()
def up() -> None:
    """Start the platform on this machine, models on their schedules; harmless when it is up."""
    from pipeline import installation

    installation.up()


@app.command()
def down() -> None:
    """Stop all that ``up`` and the runs have started."""
    from pipeline import installation

    installation.down()


@app.command()
def demo() -> None:
    """Play the main job on real data through the scheduler, and check every outcome."""
    from pipeline.demo import play

    play.play()
