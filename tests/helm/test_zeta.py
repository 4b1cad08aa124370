"""helm/zeta: what runs, who may do what, who reaches whom, and which values it does not take."""

import json
import re
import subprocess

import pytest

from pipeline.adapters.services import PROGRAMS
from tests.helm.chart import REPOSITORY, helm, selects
from tests.helm.kubernetes_rules import LABEL, NAME, unknown_fields, violations

SERVICES = ("api-server", "scheduler", "dag-processor")
OPTIONS = {
    "pullSecret": "pull",
    "secrets": {"registry": "push"},
    "models": {
        "gateway": "web/zeta",
        "domain": "models.example",
        "prometheus": "http://prometheus:9090",
        "pullSecret": "models",
    },
    "storage": {"class": "fast"},
    "airflow": {"settings": {"AIRFLOW__CORE__PARALLELISM": "3", "AIRFLOW__API__INSTANCE_NAME": "shop"}},
    "mlflow": {"url": "https://mlflow.example"},
}
EXTERNAL = {"postgresql": {"enabled": False}, "images": {"postgresql": ""}}
CLUSTER = {"gateway": {"enabled": True, "parentRef": {"name": "web"}, "hostnames": ["a.example"]},
           "monitoring": {"enabled": True}, "autoscaling": {"enabled": True}}  # fmt: skip
ASK_AIRFLOW = """
import json, sys
from airflow.configuration import conf
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers_manager import ProvidersManager
ProvidersManager().initialize_providers_configuration()
base = PodGenerator.deserialize_model_file(sys.argv[1])
pod = PodGenerator.construct_pod(
    dag_id="zeta_category", task_id="train", pod_id="x", try_number=1, kube_image=None, date=None,
    args=["python", "-m", "airflow.sdk"], pod_override_object=None, base_worker_pod=base, namespace="zeta-system",
    scheduler_job_id="1", run_id="r",
)
options = {section: sorted(known["options"]) for section, known in conf.configuration_description.items()}
print(json.dumps({"pod": PodGenerator.serialize_pod(pod), "options": options}))
"""


@pytest.fixture(scope="module")
def plain(zeta):
    return zeta.render()


@pytest.fixture(scope="module")
def full(zeta):
    return zeta.render(OPTIONS)


def environment(pod):
    """Return the variables of a pod's one container: values, and (secret, key) where a Secret holds it."""
    [container] = pod["spec"]["containers"]
    found = [(one["name"], one["value"] if "value" in one else _reference(one)) for one in container["env"]]
    assert len(found) == len(dict(found)), "a variable is given twice"
    return dict(found)


def _reference(variable):
    chosen = variable["valueFrom"]["secretKeyRef"]
    return (chosen["name"], chosen["key"])


def test_helm_lints_it_strictly(zeta):
    done = helm("lint", "--strict", zeta.folder, "-f", zeta.least)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("changes", [{}, OPTIONS, EXTERNAL], ids=["plain", "full", "external"])
def test_its_manifests_have_no_field_that_kubernetes_does_not_know(zeta, changes):
    found = zeta.render(changes)
    task = {"kind": "Pod"} | found.pods()["zeta-task"]
    assert [text for one in [*found, task] for text in unknown_fields(one)] == []


def test_every_pod_meets_the_restricted_security_standard_the_tasks_too(full):
    assert {name: violations(pod["spec"]) for name, pod in full.pods().items()} == {
        f"zeta-{name}": [] for name in (*SERVICES, "mlflow", "postgresql", "task")
    }


def test_every_container_has_a_read_only_root_requests_and_limits_and_an_image_by_digest(full):
    images = {}
    for name, container in full.containers():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"].keys() == {"requests", "limits"}
        assert all(amounts.keys() == {"cpu", "memory"} for amounts in container["resources"].values())
        images.setdefault(container["image"], set()).add(name)
    assert images == {
        "127.0.0.1:5000/zeta-airflow@sha256:" + "a" * 64: {f"zeta-{name}" for name in SERVICES},
        "127.0.0.1:5000/zeta-tasks@sha256:" + "b" * 64: {"zeta-task"},
        "127.0.0.1:5000/zeta-mlflow@sha256:" + "c" * 64: {"zeta-mlflow"},
        "127.0.0.1:5000/postgres@sha256:" + "d" * 64: {"zeta-postgresql"},
    }


def test_names_and_labels_are_legal_however_long_the_release_is_called(zeta):
    found = zeta.render(OPTIONS, release="z" * 40)
    for one in [*found, *found.pods().values()]:
        assert all(LABEL.fullmatch(value) for value in one["metadata"]["labels"].values())
    assert all(NAME.fullmatch(one["metadata"]["name"]) for one in found)


def test_no_secret_is_in_a_manifest_only_names_of_them(zeta):
    found = zeta.render(OPTIONS)
    assert found.of("Secret") == []
    airflow = environment(found.pods()["zeta-scheduler"])
    assert {name: value for name, value in airflow.items() if isinstance(value, tuple)} == {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": ("zeta-database", "airflow"),
        "AIRFLOW__CORE__FERNET_KEY": ("zeta-airflow", "fernet-key"),
        "AIRFLOW__API__SECRET_KEY": ("zeta-airflow", "api-secret-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": ("zeta-airflow", "jwt-secret"),
    }
    mlflow = environment(found.pods()["zeta-mlflow"])
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == ("zeta-database", "mlflow")


def test_tasks_know_neither_a_database_nor_a_key_of_airflow(full):
    task = full.pods()["zeta-task"]["spec"]["containers"][0]
    assert not any(isinstance(value, tuple) for value in environment(full.pods()["zeta-task"]).values())
    assert task["envFrom"] == [{"secretRef": {"name": "zeta-tasks"}}]
    assert "zeta-database" not in json.dumps(full.pods()["zeta-task"])
    assert "zeta-airflow@" not in json.dumps(full.pods()["zeta-task"])


def test_tasks_reach_everything_by_the_names_of_the_services_that_there_are(plain):
    found = environment(plain.pods()["zeta-task"])
    ports = {
        (name, port["port"]) for name in plain.names("Service") for port in plain.one("Service", name)["spec"]["ports"]
    }
    for variable in ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "MLFLOW_TRACKING_URI"):
        host, port = re.fullmatch(r"http://([a-z-]+):(\d+)(?:/execution/)?", found[variable]).groups()
        assert (host, int(port)) in ports
    assert (found["ZETA_PLATFORM"], found["ZETA_NAMESPACE"]) == ("kubernetes", "zeta")
    assert found["ZETA_REGISTRY"] == "127.0.0.1:5000"


def test_tasks_are_told_how_models_are_pulled_and_reached(plain, full):
    names = ("ZETA_GATEWAY", "ZETA_DOMAIN", "ZETA_PROMETHEUS", "ZETA_PULL_SECRET")
    told = [[environment(one.pods()["zeta-task"])[name] for name in names] for one in (plain, full)]
    given = [OPTIONS["models"][key] for key in ("gateway", "domain", "prometheus", "pullSecret")]
    assert told == [["", "models.internal", "", ""], given]


def test_pages_link_to_where_people_reach_mlflow(plain, full):
    told = [environment(one.pods()["zeta-task"])["ZETA_MLFLOW_URL"] for one in (plain, full)]
    assert told == ["http://localhost:5000", OPTIONS["mlflow"]["url"]]
    known = environment(full.pods()["zeta-mlflow"])["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert known == ["zeta-mlflow:5000", "localhost:*", "127.0.0.1:*", "mlflow.example"]


def test_a_task_finds_airflow_and_the_jobs_where_their_images_have_them(plain):
    found = environment(plain.pods()["zeta-task"])
    airflow, jobs = ((REPOSITORY / f"images/{name}/Dockerfile").read_text() for name in ("airflow", "model"))
    first = found["PATH"].split(":")[0]
    assert f"ENV PATH={first}:" in airflow
    assert f"ENV PATH={found['ZETA_COMMAND'].removesuffix('/zeta')}:" in jobs


def test_no_service_sets_a_variable_that_zeta_reads(plain):
    # Kubernetes would set ZETA_MLFLOW_PORT=tcp://... for the Service zeta-mlflow.
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in plain.pods().values())


def test_services_select_the_pods_of_their_name_alone(plain):
    chosen = {
        service["metadata"]["name"]: [
            name
            for name, pod in plain.pods().items()
            if selects(service["spec"]["selector"], pod["metadata"]["labels"])
        ]
        for service in plain.of("Service")
    }
    assert chosen == {name: [name] for name in ("zeta-api-server", "zeta-mlflow", "zeta-postgresql")}


def test_settings_of_the_user_win_and_reach_services_and_tasks(full):
    for name in ("zeta-scheduler", "zeta-task"):
        assert environment(full.pods()[name])["AIRFLOW__API__INSTANCE_NAME"] == "shop"
    assert environment(full.pods()["zeta-scheduler"])["AIRFLOW__CORE__PARALLELISM"] == "3"


def test_a_digest_is_known_to_whoever_reads_dags_and_to_the_tasks_when_there_is_one(zeta, plain):
    full = zeta.render({"digest": {"to": "oncall", "schedule": "30 7 * * 1-5"}})
    for name in ("zeta-dag-processor", "zeta-task"):
        found = environment(full.pods()[name])
        assert (found["ZETA_DIGEST"], found["ZETA_DIGEST_SCHEDULE"]) == ("oncall", "30 7 * * 1-5")
        assert not [variable for variable in environment(plain.pods()[name]) if variable.startswith("ZETA_DIGEST")]


def test_a_change_of_the_tasks_pod_restarts_the_scheduler_that_makes_them_and_nothing_else(zeta, plain):
    found = zeta.render({"tasks": {"scratch": "1Gi"}}).pods()
    assert {name for name, pod in found.items() if pod != plain.pods()[name]} == {"zeta-task", "zeta-scheduler"}


def test_the_registrys_secret_is_a_docker_config_of_the_tasks_when_there_is_one(plain, full):
    task = full.pods()["zeta-task"]
    assert environment(task)["DOCKER_CONFIG"] == "/etc/zeta"
    [volume] = [one for one in task["spec"]["volumes"] if one["name"] == "registry"]
    assert volume["secret"] == {"secretName": "push", "items": [{"key": ".dockerconfigjson", "path": "config.json"}]}
    assert "DOCKER_CONFIG" not in environment(plain.pods()["zeta-task"])


def test_the_scheduler_and_tasks_alone_have_a_token(plain):
    with_token = {name for name, pod in plain.pods().items() if pod["spec"].get("automountServiceAccountToken", True)}
    accounts = {name: pod["spec"]["serviceAccountName"] for name, pod in plain.pods().items()}
    assert with_token == {"zeta-scheduler", "zeta-task"}
    assert {accounts.pop(name) for name in sorted(with_token)} == {"zeta-scheduler", "zeta-tasks"}
    assert set(accounts.values()) == {"zeta"}
    assert plain.names("ServiceAccount") == {"zeta", "zeta-scheduler", "zeta-tasks"}


def test_there_is_one_role_a_namespace_bound_to_one_account(plain):
    bound = {
        (one["metadata"].get("namespace", "zeta-system"), one["roleRef"]["name"], one["subjects"][0]["name"])
        for one in plain.of("RoleBinding")
    }
    assert bound == {("zeta-system", "zeta-scheduler", "zeta-scheduler"), ("zeta", "zeta-tasks", "zeta-tasks")}
    assert {one["metadata"].get("namespace", "zeta-system") for one in plain.of("Role")} == {"zeta-system", "zeta"}
    assert all(one["subjects"][0]["namespace"] == "zeta-system" for one in plain.of("RoleBinding"))
    assert plain.of("ClusterRole") + plain.of("ClusterRoleBinding") == []


def rights(manifests, role):
    """Return the verbs of a Role by resource."""
    found = {}
    for rule in manifests.one("Role", role)["rules"]:
        for resource in rule["resources"]:
            found[resource] = set(rule["verbs"])
    return found


def test_the_readme_has_the_reason_of_each_verb(zeta, plain):
    role, listed = "", {}
    for line in (zeta.folder / "README.md").read_text().splitlines():
        if match := re.fullmatch(r"\| ([\w, ']*)\| ([a-z/ ]+) \| ([a-z ]+) \| (.+) \|", line):
            role = match[1].split(",")[0].strip() or role
            assert match[4].strip()
            listed.setdefault(f"zeta-{role}", {}).update(
                {resource: set(match[3].split()) for resource in match[2].split()}
            )
    del listed["zeta-Role"]
    assert listed == {role: rights(plain, role) for role in ("zeta-scheduler", "zeta-tasks")}


def test_tasks_may_apply_await_and_remove_whatever_helm_model_consists_of(model, plain):
    found = model.render(CLUSTER)
    kinds = {one["kind"].lower() for one in found}
    plurals = {kind[:-1] + "ies" if kind.endswith("y") else f"{kind}s" for kind in kinds}
    verbs = rights(plain, "zeta-tasks")
    needed = {"create", "get", "list", "watch", "patch", "delete"}
    assert all(verbs[plural] == needed for plural in plurals)
    groups = {group for rule in plain.one("Role", "zeta-tasks")["rules"] for group in rule["apiGroups"]}
    assert {one["apiVersion"].rpartition("/")[0] for one in found} <= {
        "" if group == "v1" else group for group in groups
    }


def test_no_right_is_a_wildcard_or_a_way_to_more_rights(plain):
    for role in plain.of("Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert not {"roles", "rolebindings", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])


def reached(manifests, target, port):
    """Return which pods, and whether a stranger, the policies let reach a pod's port."""
    pods = {name: pod["metadata"]["labels"] for name, pod in manifests.pods().items()} | {"stranger": {}}
    policies = [
        one["spec"]
        for one in manifests.of("NetworkPolicy")
        if "Ingress" in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], pods[target])
    ]
    assert policies, f"{target} is open to everybody"
    peers = [
        peer["podSelector"]
        for policy in policies
        for rule in policy["ingress"]
        if port in [one["port"] for one in rule["ports"]]
        for peer in rule["from"]
    ]
    return {name for name, labels in pods.items() if any(selects(peer, labels) for peer in peers)}


def test_who_reaches_whom(plain):
    assert reached(plain, "zeta-api-server", 8080) == {"zeta-task", "zeta-dag-processor"}
    assert reached(plain, "zeta-mlflow", 5000) == {"zeta-task"}
    assert reached(plain, "zeta-postgresql", 5432) == {"zeta-mlflow", *(f"zeta-{name}" for name in SERVICES)}
    assert reached(plain, "zeta-task", 8080) == set()
    assert reached(plain, "zeta-scheduler", 8974) == set()


@pytest.mark.parametrize("changes", [{}, EXTERNAL], ids=["own database", "external"])
def test_services_ask_one_another_the_dns_and_the_database_alone(zeta, changes):
    found = zeta.render(changes)
    [policy] = [one["spec"] for one in found.of("NetworkPolicy") if "Egress" in one["spec"]["policyTypes"]]
    held = {name for name, pod in found.pods().items() if selects(policy["podSelector"], pod["metadata"]["labels"])}
    assert held == found.pods().keys() - {"zeta-task", "zeta-scheduler"}
    dns, other = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert other == (
        {"ports": [{"protocol": "TCP"}]}
        if changes
        else {"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "zeta"}}}]}
    )


def test_an_external_database_leaves_no_postgresql(zeta):
    found = zeta.render(EXTERNAL)
    assert not [one for one in found if "postgresql" in one["metadata"]["name"]]
    assert environment(found.pods()["zeta-mlflow"])["MLFLOW_BACKEND_STORE_URI"] == ("zeta-database", "mlflow")


def test_what_must_not_be_lost_stays_when_the_chart_goes(plain):
    kept = plain.one("PersistentVolumeClaim", "zeta-artifacts")["metadata"]["annotations"]
    assert kept == {"helm.sh/resource-policy": "keep"}
    # Kubernetes keeps these by itself.
    [template] = plain.one("StatefulSet", "zeta-postgresql")["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"] == {"requests": {"storage": "20Gi"}}


def test_claims_are_of_the_class_that_is_given_else_of_the_clusters_own(plain, full):
    for manifests, expected in ((plain, None), (full, "fast")):
        claims = [one["spec"] for one in manifests.of("PersistentVolumeClaim")]
        claims += [
            one["spec"] for one in manifests.one("StatefulSet", "zeta-postgresql")["spec"]["volumeClaimTemplates"]
        ]
        assert [claim.get("storageClassName") for claim in claims] == [expected] * 3


def test_volumes_that_are_mounted_are_there(full):
    for name, pod in full.pods().items():
        there = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        there |= {
            one["metadata"]["name"]
            for stateful in full.of("StatefulSet")
            if stateful["metadata"]["name"] == name
            for one in stateful["spec"]["volumeClaimTemplates"]
        }
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounted == there, name


@pytest.fixture(scope="module")
def airflow(full, tmp_path_factory):
    """What the installed Airflow makes of the chart: its task's pod and the options that there are."""
    python, template = PROGRAMS["airflow"].with_name("python"), tmp_path_factory.mktemp("task") / "task.yaml"
    template.write_text(full.one("ConfigMap", "zeta-task")["data"]["task.yaml"])
    if not python.exists():
        pytest.skip(f"{python} is missing; run: make install")
    settings = {"AIRFLOW_HOME": str(template.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([python, "-c", ASK_AIRFLOW, template], capture_output=True, text=True, env=settings)
    if "No module named 'airflow.providers.cncf'" in done.stderr:
        pytest.skip("Airflow's environment lacks its Kubernetes provider; run: make install")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_knows_every_setting_that_is_made(full, airflow):
    names = {name for pod in full.pods().values() for name in environment(pod) if name.startswith("AIRFLOW__")}
    assert len(names) > 20
    unknown = []
    for name in names:
        _, section, option = name.split("__", 2)
        if option.lower() not in airflow["options"].get(section.lower(), []):
            unknown.append(name)
    assert unknown == []


def test_the_pod_that_airflow_makes_of_a_task_is_the_templates_with_a_command(plain, airflow):
    pod = airflow["pod"]
    [base] = pod["spec"]["containers"]
    assert [*base["command"], *base["args"]] == ["/usr/bin/env", "python", "-m", "airflow.sdk"]
    assert base["image"] == "127.0.0.1:5000/zeta-tasks@sha256:" + "b" * 64
    assert violations(pod["spec"]) == []
    assert pod["spec"]["serviceAccountName"] == "zeta-tasks"
    labels = plain.pods()["zeta-task"]["metadata"]["labels"]
    assert labels.items() <= pod["metadata"]["labels"].items()


def test_the_notes_name_what_is_reached_how(zeta):
    done = helm("install", "zeta", zeta.folder, "-n", "here", "--dry-run=client", "-f", zeta.least)
    notes = done.stdout.split("NOTES:")[1]
    for service in ("zeta-api-server 8080", "zeta-mlflow 5000"):
        assert f"kubectl -n here port-forward service/{service}" in notes
    readme = (zeta.folder / "README.md").read_text()
    by_hand = re.search(r"zeta\(\) \{\n(.*?)\n\}", readme, re.DOTALL)[1]
    assert by_hand.replace("zeta-system", "here").replace('"$@"', "status") in notes


def test_the_tasks_pod_is_in_the_form_that_kubectl_run_takes(plain):
    template = json.loads(plain.one("ConfigMap", "zeta-task")["data"]["task.yaml"])
    assert (template["apiVersion"], template["spec"]["containers"][0]["name"]) == ("v1", "base")
