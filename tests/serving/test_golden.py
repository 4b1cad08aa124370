"""Golden rows asked of running servers, as ``helm test`` asks them."""

import shutil
import socket
import subprocess
import sys

import pytest

from pipeline.manifest import Golden, Manifest


def ask(image, *urls):
    """Run the module as the pod of ``helm test`` does; return its exit code and all that it says."""
    command = [sys.executable, "-m", "pipeline.serving.golden", "--model", str(image / "model"), *urls]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=image / "app")
    return ended.returncode, ended.stdout + ended.stderr


def address(server):
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("model", ["titles", "prices", "tags"])
def test_a_server_that_answers_as_at_training_passes(serve, images, model):
    rows = len(Manifest.read(images[model] / "model").golden.rows)
    with serve(model) as server:
        code, said = ask(images[model], address(server))
    assert (code, said) == (0, f"{address(server)}: {rows} golden rows answered as at training\n")


def test_a_server_that_answers_otherwise_fails_and_the_rows_are_named(titles, images, toy, tmp_path):
    golden = Manifest.read(images["titles"] / "model").golden
    trained = shutil.copytree(images["titles"], tmp_path / "trained", symlinks=True)
    toy.spoil(trained, golden=Golden(golden.rows, ["本@0", *golden.predictions[1:]]))
    code, said = ask(trained, address(titles))
    row = f"golden row 0 is answered {golden.predictions[0]!r}, at training it was '本@0'"
    assert (code, said) == (1, f"{address(titles)}: {row}\n")


def test_one_bad_server_of_two_fails_and_both_are_named(titles, prices, images):
    code, said = ask(images["titles"], address(titles), address(prices))
    assert code == 1
    assert f"{address(titles)}: 4 golden rows answered as at training" in said
    assert f"{address(prices)}: it answers 400" in said
    assert "lacks column 'weight'" in said


def test_a_server_that_does_not_answer_fails(images):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    code, said = ask(images["titles"], nobody)
    assert code == 1
    assert said.startswith(f"{nobody}: it does not answer: ")
    assert "Traceback" not in said


def test_a_directory_without_a_model_fails_with_a_sentence(tmp_path, images):
    (tmp_path / "app").symlink_to(images["titles"] / "app")
    code, said = ask(tmp_path, "http://127.0.0.1:1")
    assert code == 1
    assert f"{tmp_path / 'model'}: not a model directory" in said
    assert "Traceback" not in said
