"""What helm/zeta finds on a cluster of somebody's: an image with PostgreSQL, volumes, a warehouse with labelled rows;
and how people reach what it installs.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import httpx
import pytest
from kubernetes import client

from pipeline.adapters.docker import Base
from pipeline.adapters.remote import Remote
from tests.cluster import rootfs

if TYPE_CHECKING:
    import pandas as pd

POSTGRESQL = "zeta-postgresql"
# The user that the official image has; and PostgreSQL's programs, which Debian keeps off the PATH.
_LIKE_OFFICIAL = 'chroot "$1" sh -ec "usermod --uid 999 postgres; ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin"'
_WAREHOUSE = """
initdb -D /tmp/data -U postgres -A trust -E UTF8 --locale=C
echo 'host all all all trust' >>/tmp/data/pg_hba.conf
postgres --single -D /tmp/data postgres </etc/warehouse/listings.sql
exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp
"""
_LISTINGS = """
create table listings (item_id text, at timestamp, title text, weight float, channel text, category text);
copy listings from '/etc/warehouse/listings.csv' csv header;
"""


def postgresql(registry: str) -> str:
    """Return an image with Debian's PostgreSQL that is like the official one, in a registry from now on."""
    images, engine = Remote(registry, POSTGRESQL, Base().build), docker.from_env(timeout=600)
    name = rootfs.imported(engine, ("postgresql",), (_LIKE_OFFICIAL,))
    tag = name.partition(":")[2]
    if images.find(f"{POSTGRESQL}:{tag}") is None:
        engine.images.get(name).tag(images.located(POSTGRESQL), tag)
        engine.images.push(images.located(POSTGRESQL), tag)
    return f"{images.located(POSTGRESQL)}@{images.find(f'{POSTGRESQL}:{tag}')}"


def node() -> Any:
    """Return the first node."""
    return client.CoreV1Api().list_node().items[0]


def in_pods(registry: str) -> str:
    """Return the name by which this machine, nodes and pods all reach a registry; skip where there is none."""
    host, _, port = registry.partition(":")
    if host not in ("127.0.0.1", "localhost"):
        return registry
    [address] = [one.address for one in node().status.addresses if one.type == "InternalIP"]
    try:
        httpx.get(f"http://{address}:{port}/v2/", trust_env=False)
    except httpx.TransportError as error:
        pytest.skip(f"pods cannot reach {registry}, and http://{address}:{port} does not answer ({error})")
    return f"http://{address}:{port}"


def gateway() -> str:
    """Return namespace/name of a Gateway, "" where there is none."""
    line = "{range .items[*]}{.metadata.namespace}/{.metadata.name} {end}"
    command = ["kubectl", "get", "gateways.gateway.networking.k8s.io", "-A", "-o", f"jsonpath={line}"]
    return next(iter(subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()), "")


@contextmanager
def storage(folder: Path, name: str) -> Iterator[str]:
    """Give a StorageClass for three claims: the cluster's default, "", else one of volumes in a folder of the node's,
    which is this machine."""
    default = "storageclass.kubernetes.io/is-default-class"
    found = client.StorageV1Api().list_storage_class().items
    if any((one.metadata.annotations or {}).get(default) == "true" for one in found):
        yield ""
        return
    core, host = client.CoreV1Api(), node().metadata.labels["kubernetes.io/hostname"]
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}
    names = [f"{name}-{number}" for number in range(3)]
    for one in names:
        (folder / one).mkdir()
        spec = {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder / one)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        }
        core.create_persistent_volume({"metadata": {"name": one}, "spec": spec})
    try:
        yield name
    finally:
        for one in names:
            core.delete_persistent_volume(one)


def warehouse(namespace: str, image: str, rows: "pd.DataFrame") -> str:
    """Start a PostgreSQL with the table ``listings``; return its SQLAlchemy URL when it answers."""
    core, labels = client.CoreV1Api(), {"app": "warehouse"}
    files = {"listings.csv": rows.to_csv(index=False), "listings.sql": _LISTINGS}
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "warehouse"}, "data": files})
    service = {"selector": labels, "ports": [{"port": 5432}]}
    core.create_namespaced_service(namespace, {"metadata": {"name": "warehouse"}, "spec": service})
    container = {
        "name": "postgresql",
        "image": image,
        "command": ["sh", "-ec", _WAREHOUSE],
        "readinessProbe": {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1"]}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "rows", "mountPath": "/etc/warehouse"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "rows", "configMap": {"name": "warehouse"}}],
    }
    core.create_namespaced_pod(namespace, {"metadata": {"name": "warehouse", "labels": labels}, "spec": spec})
    ready = ["wait", "--for=condition=Ready", "pod/warehouse", "--timeout=120s"]
    subprocess.run(["kubectl", "-n", namespace, *ready], check=True, stdout=subprocess.DEVNULL)
    return f"postgresql+psycopg://postgres@warehouse.{namespace}/postgres"


@contextmanager
def forwarded(namespace: str, service: str, port: int) -> Iterator[str]:
    """Give the address at which a Service is reached from here."""
    command = ["kubectl", "-n", namespace, "port-forward", f"service/{service}", f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://{process.stdout.readline().split()[2]}"
        finally:
            process.terminate()


def memory(namespace: str) -> dict[str, int]:
    """Return what each pod holds, in MiB, as the kubelet counts it."""
    path = f"/api/v1/nodes/{node().metadata.name}/proxy/stats/summary"
    said = subprocess.run(["kubectl", "get", "--raw", path], capture_output=True, check=True).stdout
    pods = [one for one in json.loads(said)["pods"] if one["podRef"]["namespace"] == namespace]
    return {one["podRef"]["name"]: one["memory"]["workingSetBytes"] >> 20 for one in pods if "memory" in one}


def removed(*namespaces: str) -> None:
    """Delete namespaces; return when they are gone, without the patience that their pods ask for."""
    commands = []
    for name in namespaces:
        commands.append(["deployment,replicaset,statefulset", "--all", "-n", name, "--cascade=orphan"])
        commands.append(["pod", "--all", "-n", name, "--grace-period=1"])
    for command in (*commands, ["namespace", "--ignore-not-found", *namespaces]):
        subprocess.run(["kubectl", "delete", *command], check=True, stdout=subprocess.DEVNULL)
