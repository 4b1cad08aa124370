"""helm/zeta on a real cluster, by the commands of its README: Airflow's scheduler brings a model into production."""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from pipeline import workspace
from pipeline.adapters.registry import Registry
from pipeline.errors import Permanent
from pipeline.settings import ROOT
from tests.cluster import platform, programs
from tests.cluster.airflow import Airflow, told
from tests.installation import BOOTSTRAP, COMMIT, Installation, at, rows

pytestmark = pytest.mark.timeout(1800)
README = (ROOT / "helm/zeta/README.md").read_text(encoding="utf-8")
IMAGES, NAMESPACES, SECRETS, INSTALL, BY_HAND = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
ROLLOUT = {"canary": {"steps": [50], "hold": "2s", "requests": 20}, "resources": {"cpu": "50m", "memory": "512Mi"}}
STEPS = ["evaluate", "decide", "train", "gate", "build_image", "roll_out", "announce"]
ROW = {"title": "冷蔵庫 新品", "weight": 1.0}


@dataclass
class Walk:
    """The README's walk, with what is a user's own put in. ``words`` are what stands for what in its commands."""

    words: dict[str, str]
    system: str
    models: str
    gateway: str
    model: str

    def run(self, commands, **variables):
        """Run some of its commands in a shell; return what they print."""
        for word, own in self.words.items():
            commands = commands.replace(word, own)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, env=os.environ | variables,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def dag(self):
        return f"zeta_{self.model}"

    def platform(self):
        """Where the models run, with the rights that KUBECONFIG gives."""
        return workspace.load(self.model).platform


@pytest.fixture(scope="module")
def walk(cluster, namespace, base_image, tmp_path_factory):
    """All of the walk but the last command: helm/zeta runs, and nothing has been asked of it."""
    folder = tmp_path_factory.mktemp("walk")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        own = os.environ.get("KUBERNETES_BIN", programs.CACHE / programs.name() / "bin")
        patch.setenv("PATH", f"{os.environ['PATH']}:{own}")
        if shutil.which("kubectl") is None:
            pytest.skip("there is no kubectl on the PATH")
        registry = platform.in_pods(cluster["ZETA_REGISTRY"])
        name = Installation(folder, "").toy(alerts=[], rollout=ROLLOUT)
        postgresql = platform.postgresql(registry)
        system, models = f"{namespace}-system", f"{namespace}-models"
        words = {
            "registry.example:5000/zeta": registry,
            "docker.io/library/postgres@sha256:...": postgresql,
            "ZETA_SOURCE_LISTINGS=postgresql+psycopg://reader:...@warehouse/shop":
                f"ZETA_SOURCE_ROWS={platform.warehouse(namespace, postgresql, rows())}",
            "in zeta-system zeta;": f"in {system} {models};",
            "-n zeta-system": f"-n {system}",
            "-f my.yaml": f"-f {folder}/my.yaml -f {folder}/small.yaml",
            ">my.yaml": f">{folder}/my.yaml",
        }  # fmt: skip
        assert all(word in README for word in words)
        made = Walk(words, system, models, platform.gateway(), name)
        storage = stack.enter_context(platform.storage(folder, namespace))
        (folder / "small.yaml").write_text(yaml.safe_dump(small(made, storage)))
        with measured("images built and pushed"):
            made.run(IMAGES, ZETA_MODELS=str(folder / "models"), ZETA_BASE_IMAGE=base_image, ZETA_COMMIT=COMMIT)
        stack.callback(platform.removed, system, models)
        made.run(NAMESPACES + SECRETS)
        with measured("from install to ready"):
            made.run(INSTALL)
        here = {
            "ZETA_PLATFORM": "kubernetes", "ZETA_REGISTRY": registry, "ZETA_NAMESPACE": models,
            "ZETA_GATEWAY": made.gateway, "ZETA_MODELS": str(folder / "models"), "ZETA_HOME": str(folder / "home"),
        }  # fmt: skip
        for variable, value in here.items():
            patch.setenv(variable, value)
        yield made


def small(walk, storage):
    """Return values for a small cluster of one node, on which no model runs before it is asked for."""
    few = {"requests": {"cpu": "50m"}}
    return {
        "models": {"namespace": walk.models, "gateway": walk.gateway},
        "airflow": {
            "settings": {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"},
            "scheduler": few, "apiServer": few, "dagProcessor": few,
        },
        "tasks": {"requests": {"cpu": "100m", "memory": "512Mi"}}, "mlflow": few, "postgresql": few,
        "storage": {"class": storage, "logs": {"mode": "ReadWriteOnce"}},
    }  # fmt: skip


@contextmanager
def measured(what):
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s")


@pytest.fixture(scope="module")
def airflow(walk):
    secret = client.CoreV1Api().read_namespaced_secret("zeta-airflow", walk.system)
    password = json.loads(base64.b64decode(secret.data["passwords.json"]))["admin"]
    with platform.forwarded(walk.system, "zeta-api-server", 8080) as address:
        yield Airflow.at(address, password)


@pytest.fixture(scope="module")
def registry(walk):
    with platform.forwarded(walk.system, "zeta-mlflow", 5000) as address:
        yield Registry(address)


@pytest.fixture(scope="module")
def run(walk, airflow):
    """The run that makes the model's first version: its path, its state, its tasks, and their pods."""
    with measured("from ready to a DAG"):
        airflow.await_dag(walk.dag)
    with measured("from trigger to announced"):
        path = airflow.trigger(walk.dag, at(BOOTSTRAP).isoformat())
        state, pods = airflow.ended(path, walk.system)
    tasks = {task["task_id"]: task for task in airflow.get(f"{path}/taskInstances")["task_instances"]}
    told(airflow.get(path)["queued_at"], tasks.values())
    print(f"MiB held: {platform.memory(walk.system)}")
    return path, state, tasks, pods


def test_the_scheduler_brings_a_model_into_production_with_every_task_in_a_pod(walk, run):
    _, state, tasks, pods = run
    ended = {name: task["state"] for name, task in tasks.items()}
    assert (state, ended) == ("success", dict.fromkeys(STEPS, "success"))
    ran = {name: task["hostname"] for name, task in tasks.items()}
    assert ran == {name: pod.metadata.name for name, pod in pods.items()}
    for pod in pods.values():
        [container] = pod.spec.containers
        assert "/zeta-tasks@sha256:" in container.image
        assert pod.spec.service_account_name == "zeta-tasks"
        assert "KUBECONFIG" not in [variable.name for variable in container.env]


def test_what_serves_is_the_version_that_is_champion(walk, run, registry):
    champion = registry.aliased(walk.model, "champion")
    release = walk.platform().release(walk.model, "stable")
    assert (champion.number, champion.tag("gate")) == ("1", "promote")
    assert (release.version, release.digest, release.ready) == ("1", champion.tag("digest"), True)
    assert walk.platform().predict(walk.model, "stable", [ROW]) == ["家電"]
    assert walk.platform().release(walk.model, "canary") is None


def test_a_version_says_which_commit_its_tasks_are_of(walk, run, registry):
    assert registry.aliased(walk.model, "champion").tag("commit") == COMMIT


def test_a_models_requests_come_by_the_gateway_where_there_is_one(walk, run):
    if not walk.gateway:
        pytest.skip("the cluster has no Gateway")
    [route] = client.CustomObjectsApi().list_namespaced_custom_object(
        "gateway.networking.k8s.io", "v1", walk.models, "httproutes"
    )["items"]
    assert route["spec"]["hostnames"] == [f"{walk.model}.models.internal"]
    [parent] = route["status"]["parents"]
    assert {one["type"]: one["status"] for one in parent["conditions"]}["Accepted"] == "True"


def test_airflow_shows_what_a_task_has_said(walk, run, airflow):
    said = json.dumps(airflow.get(f"{run[0]}/taskInstances/announce/logs/1"))
    assert f"zeta announce {walk.model}" in said
    assert "golden rows answered as trained" in said


def test_a_command_by_hand_runs_where_tasks_do(walk, run):
    with measured("zeta status in a pod"):
        said = walk.run(BY_HAND)
    assert re.search(rf"{walk.model} +v1 ready", said), said
    assert "kube_config" not in said, "nothing else belongs on its stdout"


@pytest.fixture
def as_tasks(walk, tmp_path, monkeypatch):
    """Have in this process the rights of the tasks, and no other."""
    token = client.CoreV1Api().create_namespaced_service_account_token("zeta-tasks", walk.system, {"spec": {}})
    known = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    known["users"] = [{"name": user["name"], "user": {"token": token.status.token}} for user in known["users"]]
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(known))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield
    monkeypatch.undo()
    config.load_config(config_file=os.environ["KUBECONFIG"])


def test_the_tasks_rights_suffice_for_what_a_failed_rollout_asks(walk, run, as_tasks):
    served = walk.platform()
    with measured("an image that is not there: until it is undone"), pytest.raises(Permanent) as failed:
        served.start_canary(walk.model, "2", "sha256:" + "0" * 64)
    assert re.search(r"Failed: .*not found", str(failed.value)), "no events"
    assert served.release(walk.model, "canary") is None
    assert served.release(walk.model, "stable").ready
    assert served.observe(walk.model, "stable").requests >= 0


@pytest.mark.parametrize(
    ("verb", "resource", "space"),
    [("get", "secrets", "system"), ("create", "pods", "system"), ("create", "rolebindings", "models"),
     ("create", "pods/exec", "models"), ("list", "namespaces", "")],
)  # fmt: skip
def test_the_tasks_may_not(walk, verb, resource, space):
    kind, _, part = resource.partition("/")
    groups = {"rolebindings": "rbac.authorization.k8s.io"}
    asked = {"verb": verb, "resource": kind, "subresource": part, "group": groups.get(kind, ""),
             "namespace": space and getattr(walk, space)}  # fmt: skip
    review = {"spec": {"user": f"system:serviceaccount:{walk.system}:zeta-tasks", "resourceAttributes": asked}}
    answer = client.AuthorizationV1Api().create_subject_access_review(review)
    assert answer.status.allowed is not True


def test_all_of_the_platform_is_up_and_was_never_restarted(walk, run):
    pods = client.CoreV1Api().list_namespaced_pod(walk.system).items
    kept = [pod for pod in pods if pod.metadata.labels.get("kubernetes_executor") != "True"]
    found = {pod.metadata.labels["app.kubernetes.io/component"]: pod for pod in kept}
    assert found.keys() == {"api-server", "scheduler", "dag-processor", "mlflow", "postgresql"}
    for name, pod in found.items():
        assert [(one.ready, one.restart_count) for one in pod.status.container_statuses] == [(True, 0)], name
