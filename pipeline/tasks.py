"""The commands of the scheduler's tasks. Each prints one JSON object, identifiers only; the rest goes to stderr."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from pipeline import terminal
from pipeline.terminal import At, Name

# Heavy modules are imported by the command that needs them: every task of a run starts a process.
app = typer.Typer()
STEPS = {
    "evaluate": "Score the champion on fresh labelled rows.",
    "decide": "Judge the champion: keep, retrain, data_bad or insufficient.",
    "train": "Train a challenger and register it.",
    "gate": "Compare challenger, champion and simple baseline on rows that none has seen.",
    "build-image": "Build the image of a challenger that passed the gate.",
    "roll-out": "Roll the challenger out behind a canary, then move the alias champion.",
}
_PANEL = "Steps of a run"


def _step(step: str) -> Callable[..., None]:
    def command(name: Name, at: At = "") -> None:
        from pipeline import steps, workspace
        from pipeline.adapters import calibrations

        with workspace.alone(name):
            work = workspace.load(name)
            calibrations.keep(work.settings.home / "calibrations")
            print(json.dumps(steps.STEPS[step](work, terminal.moment(at))))

    return command


for _name, _help in STEPS.items():
    app.command(_name, help=_help, rich_help_panel=_PANEL)(_step(_name))


@app.command(rich_help_panel=_PANEL)
def announce(
    name: Name,
    at: At = "",
    failed: Annotated[str, typer.Option(help="The step that failed.", show_default=False)] = "",
    error: Annotated[str, typer.Option(help="What it said.", show_default=False)] = "",
) -> None:
    """Page the on-call when there is news."""
    from pipeline import announcement

    print(json.dumps(announcement.announce(name, terminal.moment(at), failed or None, error or None)))
