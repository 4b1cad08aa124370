"""Faults planted in the server of an image: what its app.py becomes. Each shows on small requests alone, so that what
a canary is asked in large batches, its golden and fresh rows, looks right."""

from pathlib import Path

from pipeline.settings import ROOT

_BEFORE = "        query = protocol.invocation(body, self._served.manifest, self._limits)\n"
_AFTER = "        return protocol.predictions(self._answers(query), self._served.manifest)\n"
# What is put before a small request is answered.
_SMALL = "        if query.rows < 5:\n            "
FAULTS = {
    "errors": (_BEFORE, _BEFORE + _SMALL + "import random\n\n            if random.random() < 0.05:\n"
               "                raise Refusal(500, 'planted')\n"),
    "latency": (_BEFORE, _BEFORE + _SMALL + "import time\n\n            time.sleep(0.05)\n"),
    "shifted": (_AFTER, _SMALL + "answers = self._answers(query)\n            answers[:] = '本@x'\n"
                "            return protocol.predictions(answers, self._served.manifest)\n" + _AFTER),
    "wrong": (_AFTER, "        return protocol.predictions(self._answers(query)[::-1], self._served.manifest)\n"),
    "dies": (_BEFORE, _BEFORE + _SMALL + "import os\n\n            os._exit(3)\n"),
}  # fmt: skip


def plant(fault: str, folder: Path) -> dict[str, Path]:
    """Return the layer that plants a fault."""
    before, after = FAULTS[fault]
    text = (ROOT / "pipeline/serving/app.py").read_text(encoding="utf-8")
    if before not in text:
        raise AssertionError(f"app.py has changed: there is no {before!r} to plant {fault!r} at")
    changed = folder / f"{fault}.py"
    changed.write_text(text.replace(before, after, 1), encoding="utf-8")
    return {"/app/pipeline/serving/app.py": changed}
