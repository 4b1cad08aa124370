import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "serving" / "toy.py")
_toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_toy)


@pytest.fixture(scope="session")
def toy():
    """Small real models, each laid out as an unpacked image."""
    return _toy
