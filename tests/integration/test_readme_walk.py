"""The README's walk from a table to a first release, as a newcomer would type it."""

import os
import re
import subprocess

import pytest

from pipeline.settings import ROOT
from tests.installation import Installation

WALK = re.search(r"## Add a model.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def walked(installation: Installation) -> str:
    script = WALK[1].replace("/tmp/shop.db", f"{installation.folder}/shop.db")
    (installation.folder / "models").mkdir(exist_ok=True)
    done = subprocess.run(
        ["bash", "-e", "-u", "-c", script], cwd=ROOT, env=os.environ | installation.environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_walk_ends_with_a_model_that_serves(walked, installation):
    assert "price: good" in walked
    assert '"outcome": "promoted"' in walked
    assert "v1 ready" in walked
    assert installation.registry.aliased("price", "champion").number == "1"
