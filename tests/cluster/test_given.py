"""A cluster and a registry that are given: they are asked, and nothing is started."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cluster import __main__ as command
from tests.cluster.steps import Failed

VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.4"} | dict.fromkeys(
    ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "known"
)


class Answers(BaseHTTPRequestHandler):
    """The version of a cluster, and a registry that wants a password."""

    def do_GET(self):
        body = json.dumps(VERSION).encode()
        self.send_response(401 if self.path == "/v2/" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Be quiet."""


@pytest.fixture
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def kubeconfig(tmp_path, address):
    file = tmp_path / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "clusters": [{"name": "given", "cluster": {"server": f"http://{address}"}}],
                "contexts": [{"name": "given", "context": {"cluster": "given", "user": ""}}],
                "current-context": "given",
            }
        )
    )
    return file


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "_alone", lambda: pytest.fail("a cluster is started"))


def test_what_answers_is_printed(monkeypatch, capsys, kubeconfig, address):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("ZETA_REGISTRY", f"{address}/zeta")
    command.up()
    assert capsys.readouterr().out == f"export KUBECONFIG={kubeconfig} ZETA_REGISTRY={address}/zeta\n"


def test_a_registry_that_does_not_answer_is_named(monkeypatch, kubeconfig):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("ZETA_REGISTRY", "127.0.0.1:1/zeta")
    with pytest.raises(Failed, match=r"ZETA_REGISTRY=127\.0\.0\.1:1/zeta: the registry does not answer"):
        command.up()


@pytest.mark.parametrize("alone", ["KUBECONFIG", "ZETA_REGISTRY"])
def test_one_without_the_other_is_refused(monkeypatch, alone):
    for name in ("KUBECONFIG", "ZETA_REGISTRY"):
        monkeypatch.setenv(name, "given" if name == alone else "")
    with pytest.raises(Failed, match="give both"):
        command.up()
