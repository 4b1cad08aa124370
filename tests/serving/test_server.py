"""How a server starts and stops."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from pipeline.manifest import Golden, Manifest

PREDICT = {"inputs": {"title": ["英語の参考書"]}}


@pytest.fixture
def spoilt(images, toy, tmp_path):
    """Return a function that copies an image and changes its manifest."""

    def make(**changes):
        root = shutil.copytree(images["titles"], tmp_path / "spoilt", symlinks=True)
        return toy.spoil(root, **changes)

    return make


def test_a_fingerprint_that_differs_keeps_the_server_up_but_unready_and_names_the_part(serve, images, spoilt):
    recorded = Manifest.read(images["titles"] / "model").fingerprint
    with serve(spoilt(fingerprint=recorded | {"japanese.sys.dic": "0000"})) as server:
        ready = server.http.get("/v2/health/ready")
        assert ready.status_code == 503
        assert f"japanese.sys.dic is {recorded['japanese.sys.dic']}, at training it was 0000" in ready.json()["error"]
        assert server.http.get("/v2/models/titles/ready").status_code == 503
        assert server.http.get("/v2/health/live").status_code == 200
        refused = server.http.post("/invocations", json=PREDICT)
        assert refused.status_code == 503
        assert "japanese.sys.dic" in refused.json()["error"]
        assert "japanese.sys.dic" in server.log.read_text()


def test_golden_predictions_that_differ_keep_the_server_unready(serve, images, spoilt):
    golden = Manifest.read(images["titles"] / "model").golden
    other = Golden(golden.rows, ["本@0", *golden.predictions[1:]])
    with serve(spoilt(golden=other)) as server:
        ready = server.http.get("/v2/health/ready")
        assert ready.status_code == 503
        assert f"golden row 0 is answered {golden.predictions[0]!r}, at training it was '本@0'" in ready.text
        assert server.http.post("/invocations", json=PREDICT).status_code == 503


def test_a_directory_without_a_model_ends_the_server_with_a_sentence(tmp_path):
    command = [sys.executable, "-m", "pipeline.serving.server", "--model", str(tmp_path), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert f"{tmp_path}: not a model directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_shared_socket_is_joined_only_by_a_server_that_is_ready(serve, spoilt):
    unready = spoilt(fingerprint={})
    with socket.create_server(("127.0.0.1", 0)) as shared:
        url = f"http://127.0.0.1:{shared.getsockname()[1]}/"
        with serve(unready, shared=shared), pytest.raises(httpx.ReadTimeout):
            httpx.get(url, timeout=1, trust_env=False)
        with serve(unready, "--even-unready", shared=shared):
            assert httpx.get(url, timeout=30, trust_env=False).json()["ready"] is False
        with serve("titles", shared=shared):
            assert httpx.get(url, timeout=30, trust_env=False).json()["ready"] is True


def test_sigterm_lets_a_request_end_and_answers_on_open_connections(serve):
    with serve("slow") as server:
        replies = []
        working = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30)
        work = {"inputs": {"seconds": [2]}}
        thread = threading.Thread(target=lambda: replies.append(working.post("/invocations", json=work)))
        thread.start()
        await_request(server)
        server.process.send_signal(signal.SIGTERM)
        await_refusal(server.port)
        late = server.http.post("/invocations", json={"inputs": {"seconds": [0]}})
        assert late.status_code == 200
        assert late.headers["connection"] == "close"
        thread.join()
        assert replies[0].json() == {"predictions": [2.0]}
        assert replies[0].headers["connection"] == "close"
        assert server.process.wait(timeout=20) == 0


def test_a_request_that_does_not_end_does_not_keep_the_server(serve):
    with serve("slow", "--grace", "2") as server:
        work, replies = {"inputs": {"seconds": [100]}}, []

        thread = threading.Thread(target=lambda: replies.append(server.http.post("/invocations", json=work)))
        thread.start()
        await_request(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        thread.join()
        assert replies[0].status_code == 500


def await_request(server):
    deadline = time.monotonic() + 20
    while server.metric("zeta_requests_in_flight") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def await_refusal(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    raise AssertionError("the listener is still open")
