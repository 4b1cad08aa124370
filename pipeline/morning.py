"""A morning: all steps of one run in one process, with the scheduler's branches."""

import logging
from datetime import datetime
from typing import Any

from pipeline import announcement, steps, workspace
from pipeline.errors import ZetaError

log = logging.getLogger(__name__)


def run(name: str, at: datetime) -> dict[str, Any]:
    """Run every step that the verdicts ask for; return their answers. A failure pages and is raised again.

    Temporary, and no page, while another run of the model is under way.
    """
    answers: dict[str, Any] = {}
    step = "evaluate"
    with workspace.alone(name):
        try:
            work = workspace.load(name)
            for step, function in steps.STEPS.items():
                answers[step] = function(work, at)
                log.info("%s: %s %s", name, step, answers[step])
                if answers[step].get("verdict") not in steps.GOES_ON:
                    break
        except Exception as error:
            _page(name, at, step, error)
            raise
        if "train" in answers or answers["decide"]["announce"]:
            answers["announce"] = announcement.announce(name, at)
    return answers


def _page(name: str, at: datetime, step: str, error: Exception) -> None:
    text = str(error) if isinstance(error, ZetaError) else f"{type(error).__name__}: {error}"
    try:
        announcement.announce(name, at, step, text)
    except ZetaError as unsaid:
        # What failed first is raised.
        log.error("%s: nobody was paged: %s", name, unsaid)
