"""What Kubernetes itself would say of a manifest, without one: unknown fields, and the restricted security standard."""

import re
from functools import cache

from kubernetes import client

_CLASSES = {
    "Deployment": client.V1Deployment,
    "StatefulSet": client.V1StatefulSet,
    "Pod": client.V1Pod,
    "Service": client.V1Service,
    "ServiceAccount": client.V1ServiceAccount,
    "ConfigMap": client.V1ConfigMap,
    "PersistentVolumeClaim": client.V1PersistentVolumeClaim,
    "NetworkPolicy": client.V1NetworkPolicy,
    "PodDisruptionBudget": client.V1PodDisruptionBudget,
    "HorizontalPodAutoscaler": client.V2HorizontalPodAutoscaler,
    "Role": client.V1Role,
    "RoleBinding": client.V1RoleBinding,
}
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_OF_THE_HOST = ("hostNetwork", "hostPID", "hostIPC")
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")


def unknown_fields(manifest):
    """Return the paths of fields that an object of this kind does not have; custom resources are not looked at."""
    known = _CLASSES.get(manifest["kind"])
    return _unknown(manifest, known.__name__, manifest["kind"]) if known else []


def violations(pod):
    """Return what the restricted standard forbids in a pod's spec, one sentence each."""
    own = pod.get("securityContext", {})
    found = [f"{key} is set" for key in _OF_THE_HOST if pod.get(key)]
    found += [
        f"volume {one['name']} is of no allowed kind" for one in pod.get("volumes", []) if not _VOLUMES & one.keys()
    ]
    if own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("no seccomp profile")
    if own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0:
        found.append("may run as root")
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        found += [f"{container['name']}: {text}" for text in _violations(container)]
    return found


def _violations(container):
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "may gain rights"
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "keeps capabilities"
    if own.get("runAsNonRoot") is False or own.get("runAsUser") == 0:
        yield "may run as root"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of the host"


@cache
def _fields(name):
    known = getattr(client, name)
    return {known.attribute_map[field]: kind for field, kind in known.openapi_types.items()}


def _unknown(value, kind, path):
    listed = re.fullmatch(r"list\[(.+)\]", kind)
    mapped = re.fullmatch(r"dict\[str, (.+)\]", kind)
    if listed:
        return [text for at, one in enumerate(value) for text in _unknown(one, listed[1], f"{path}[{at}]")]
    if mapped:
        return [text for key, one in value.items() for text in _unknown(one, mapped[1], f"{path}.{key}")]
    if not isinstance(value, dict) or not hasattr(client, kind):
        return []
    known = _fields(kind)
    return [f"{path}.{key}" for key in value.keys() - known.keys()] + [
        text for key in value.keys() & known.keys() for text in _unknown(value[key], known[key], f"{path}.{key}")
    ]
