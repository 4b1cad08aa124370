"""Frames predicted by a process of the image's own code."""

import os
import sys

import numpy as np
import pytest

from pipeline import artifact
from pipeline.adapters.batch import Batch
from pipeline.errors import Permanent
from pipeline.manifest import Manifest


@pytest.fixture(scope="module")
def titles(toy, tmp_path_factory):
    return toy.titles(tmp_path_factory.mktemp("images") / "titles", 1)


def batch(root):
    return Batch.of(root / "model", root / "app")


def test_answers_are_the_models_own(titles, toy):
    import pandas as pd

    frame = pd.DataFrame({"title": [*toy.TITLES, ""]})
    model = artifact.load(titles / "model")
    with batch(titles) as process:
        assert process.predict(frame).tolist() == model.predict(frame).tolist()
        ranking = process.predict(frame, "ranking", k=2)
        assert ranking.shape == (13, 2)
        assert ranking.tolist() == model.rank(frame, 2).tolist()
        np.testing.assert_array_equal(process.predict(frame, "confidence"), model.confidence(frame))


def test_numbers_and_the_models_own_code_come_through(toy, tmp_path):
    import pandas as pd

    with batch(toy.slow(tmp_path)) as process:
        answers = process.predict(pd.DataFrame({"seconds": [0.0, 0.125]}))
    assert answers.dtype == float
    np.testing.assert_array_equal(answers, [0.0, 0.125])


def test_frames_larger_than_any_pipe_do_not_deadlock(titles):
    import pandas as pd

    frame = pd.DataFrame({"title": ["新品の" + "万年筆" * 300] * 3_000})
    with batch(titles) as process:
        assert process.predict(frame).tolist() == ["文具@1"] * 3_000
        assert process.predict(frame, "ranking", k=3).shape == (3_000, 3)


@pytest.mark.parametrize("rows", [1, 100_000])
def test_a_fingerprint_that_differs_is_an_error_that_names_the_part(toy, tmp_path, rows):
    import pandas as pd

    root = toy.titles(tmp_path / "image", 1)
    recorded = Manifest.read(root / "model").fingerprint
    toy.spoil(root, fingerprint=recorded | {"numpy": "1.0"})
    with batch(root) as process, pytest.raises(Permanent, match=r"numpy is .*, at training it was 1\.0"):
        process.predict(pd.DataFrame({"title": ["本"] * rows}))


def test_an_exception_of_the_model_is_told(toy, tmp_path):
    import pandas as pd

    with batch(toy.slow(tmp_path)) as process, pytest.raises(Permanent, match="ArithmeticError: time runs forward"):
        process.predict(pd.DataFrame({"seconds": [-1.0]}))


def test_a_process_that_dies_is_told_with_its_last_lines(tmp_path):
    import pandas as pd

    command = [sys.executable, "-c", "print('loading', flush=True); import nowhere"]
    with Batch(command, tmp_path, os.environ) as process, pytest.raises(Permanent, match="No module named 'nowhere'"):
        process.predict(pd.DataFrame({"title": ["本"]}))


def test_a_process_that_cannot_start_is_told(tmp_path):
    with pytest.raises(Permanent, match="/nowhere/python does not start"), Batch(["/nowhere/python"], tmp_path, {}):
        pass


def test_what_the_model_prints_does_not_disturb_the_answers(toy, tmp_path):
    import pandas as pd

    root = toy.slow(tmp_path)
    code = root / "app" / "models" / "slow" / "sleeper.py"
    code.write_text(code.read_text().replace("import time", "import os, time\nprint('hello')\nos.system('echo hello')"))
    with batch(root) as process:
        assert process.predict(pd.DataFrame({"seconds": [0.0]})).tolist() == [0.0]
