"""What the cluster holds of one model: every object of every kind, whoever has made it."""

import hashlib
import json
import time
from typing import Any

from kubernetes import client, dynamic

from pipeline.adapters.helm import Helm
from pipeline.adapters.kubernetes import CHART

_STILL_SECONDS = 2.0
_SETTLE_SECONDS = 60.0


def written(namespace: str, model: str) -> dict[str, str]:
    """Return a hash of every object of a model by its kind and name: whatever is written to one changes its hash.

    Those with its label, Helm's records of it, its Lease; status and resourceVersion included.
    """
    api = dynamic.DynamicClient(client.ApiClient())
    selections = (
        {"label_selector": f"zeta.dev/model={model}"},
        {"label_selector": f"owner=helm,name={model}"},
        {"field_selector": f"metadata.name=zeta-{model}"},
    )
    found = {}
    for kind in api.resources.search(preferred=True):
        if type(kind) is dynamic.Resource and kind.namespaced and "list" in kind.verbs:
            for selected in selections:
                for one in api.get(kind, namespace=namespace, **selected).items:
                    text = json.dumps(one.to_dict(), sort_keys=True)
                    found[f"{kind.kind} {one.metadata.name}"] = hashlib.sha256(text.encode()).hexdigest()
    return found


def settled(namespace: str, model: str) -> dict[str, str]:
    """Return the same when nothing is written any more: Kubernetes itself follows up for a moment."""
    deadline, before = time.monotonic() + _SETTLE_SECONDS, {}
    while (now := written(namespace, model)) != before:
        changing = sorted(dict(now.items() ^ before.items()))
        assert time.monotonic() < deadline, f"{model}: is written again and again: {changing}"
        before = now
        time.sleep(_STILL_SECONDS)
    return now


def tracks(namespace: str, model: str) -> dict[str, Any]:
    """Return what Helm has been told to run."""
    return Helm(namespace, CHART).values(model)["tracks"]


def lease(namespace: str, model: str) -> client.V1Lease:
    """Return the Lease that one process at a time holds."""
    return client.CoordinationV1Api().read_namespaced_lease(f"zeta-{model}", namespace)


def free(namespace: str, model: str) -> None:
    """Take the Lease away from a process that was killed, so that nobody waits for its end."""
    client.CoordinationV1Api().delete_namespaced_lease(f"zeta-{model}", namespace)
