"""Clients of a model, in a pod of their own: they ask without pause until they are told to stop."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client

SCRIPT = """
import collections, http.client, json, select, signal, sys, threading, time

address, host, model, rate = *sys.argv[1:4], float(sys.argv[4])
titles = ["冷蔵庫", "万年筆", "文庫本", "電子レンジ"]
ended, said, failed = threading.Event(), collections.Counter(), []
signal.signal(signal.SIGTERM, lambda *_: ended.set())


def ask(kept):
    turn, connection = 0, http.client.HTTPConnection(address, timeout=30)
    while not ended.wait(1 / rate):
        turn += 1
        inputs = [{"name": "title", "shape": [1], "datatype": "BYTES", "data": [titles[turn % 4]]}]
        # As pools of connections do: one that the server has closed is not used again.
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        try:
            headers = {"Content-Type": "application/json", "Host": host} | ({} if kept else {"Connection": "close"})
            connection.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": inputs}), headers)
            reply = connection.getresponse()
            answer = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {answer[:200]}")
            said[json.loads(answer)["model_version"]] += 1
        except Exception as error:
            connection.close()
            failed.append(f"{time.strftime('%H:%M:%S')} {error!r}")


threads = [threading.Thread(target=ask, args=(kept,)) for kept in (True, False, False)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"said": said, "failed": failed[:50], "failures": len(failed)}))
"""


@dataclass
class Load:
    """What the clients of one model were told: how many answers of each version, and every failure.

    ``via``: a gateway's address, which knows the model as ``host``.
    """

    namespace: str
    image: str
    model: str
    served: str = "titles"
    rate: float = 10.0
    via: str = ""
    host: str = ""
    said: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    failures: int = 0

    def __enter__(self) -> "Load":
        self._pod = f"load-{self.model}"
        address = (self.via or self.model, self.host or self.model)
        container: dict[str, Any] = {
            "name": "load",
            "image": self.image,
            "command": ["python3", "-c", SCRIPT, *address, self.served, str(self.rate)],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        self._core = client.CoreV1Api()
        self._core.create_namespaced_pod(self.namespace, {"metadata": {"name": self._pod}, "spec": spec})
        self._await("Running")
        return self

    def __exit__(self, *_: object) -> None:
        # Told to stop without being deleted, so that its log can be read.
        from kubernetes.stream import stream

        stop = ["python3", "-c", "import os; os.kill(1, 15)"]
        stream(
            self._core.connect_get_namespaced_pod_exec,
            self._pod,
            self.namespace,
            command=stop,
            stdout=True,
            stderr=True,
        )
        self._await("Succeeded")
        found = json.loads(self._log().splitlines()[-1])
        self.said, self.failed, self.failures = found["said"], found["failed"], found["failures"]
        self._core.delete_namespaced_pod(self._pod, self.namespace, grace_period_seconds=0)

    def _await(self, phase: str) -> None:
        deadline = time.monotonic() + 120
        while (found := self._core.read_namespaced_pod(self._pod, self.namespace)).status.phase != phase:
            assert time.monotonic() < deadline, f"the clients' pod is {found.status.phase}, not {phase}"
            assert found.status.phase != "Failed", self._log()
            time.sleep(0.5)

    def _log(self) -> str:
        read = self._core.read_namespaced_pod_log
        return read(self._pod, self.namespace, _preload_content=False).data.decode()
