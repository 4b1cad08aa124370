"""Faults planted in the server of an image: what its app.py becomes. Each but `wrong` shows on requests of one row
alone, so that what a canary is asked in batches, its golden and fresh rows, looks right."""

from pathlib import Path

from pipeline.settings import ROOT

_ASK = "        try:\n            answers = self._served.answer(query.columns, query.k)\n"
_TELL = "        self._metrics.rows(query.rows)\n"
_ONE = "        if query.rows == 1:\n            "
# What is put before a line of the server's.
FAULTS = {
    "errors": (_ASK, _ONE + "import random\n\n            if random.random() < 0.05:\n"
               "                raise Refusal(500, 'planted')\n"),
    "latency": (_ASK, _ONE + "import time\n\n            time.sleep(0.05)\n"),
    "shifted": (_TELL, _ONE + "answers[:] = '本@x'\n"),
    "wrong": (_TELL, "        answers = answers[::-1]\n"),
    "dies": (_ASK, _ONE + "import os\n\n            os._exit(3)\n"),
}  # fmt: skip


def plant(fault: str, folder: Path) -> dict[str, Path]:
    """Return the layer that plants a fault."""
    line, planted = FAULTS[fault]
    text = (ROOT / "pipeline/serving/app.py").read_text(encoding="utf-8")
    if text.count(line) != 1:
        raise AssertionError(f"app.py has changed: there is no {line!r} to plant {fault!r} at")
    changed = folder / f"{fault}.py"
    changed.write_text(text.replace(line, planted + line), encoding="utf-8")
    return {"/app/pipeline/serving/app.py": changed}
