"""A morning: all steps of one run in one process, with the scheduler's branches."""

import logging
from datetime import datetime
from typing import Any

from pipeline import announcement, steps, workspace
from pipeline.errors import ZetaError

log = logging.getLogger(__name__)


def run(name: str, at: datetime) -> dict[str, Any]:
    """Run every step that the verdicts ask for; return their answers. A failure pages and is raised again."""
    answers: dict[str, Any] = {}
    step = "evaluate"
    try:
        work = workspace.load(name)
        with work.alone():
            for step, function in steps.STEPS.items():
                answers[step] = function(work, at)
                log.info("%s: %s %s", name, step, answers[step])
                if answers[step].get("verdict") not in steps.GOES_ON:
                    break
    except ZetaError as error:
        announcement.announce(name, at, step, str(error))
        raise
    if "train" in answers or answers["decide"]["announce"]:
        answers["announce"] = announcement.announce(name, at)
    return answers
