"""Releases on Kubernetes: one Helm release a model, whose values say which tracks there are and who gets what share."""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from pipeline import observation
from pipeline.adapters.cluster import Cluster
from pipeline.adapters.helm import Helm
from pipeline.adapters.prometheus import Prometheus
from pipeline.config import RolloutRules
from pipeline.errors import Permanent
from pipeline.observation import Observation
from pipeline.rollout import Release, Role
from pipeline.settings import ROOT, Kubernetes

CHART = ROOT / "helm" / "model"
START_SECONDS = 180
"""How long new pods may take until they are ready, the pull of their image included."""
_POLL_SECONDS = 0.5
_SILENT_SECONDS = 10
# A Prometheus with the usual interval takes so long until it has scraped a new pod.
_UNSCRAPED_SECONDS = 90
_ALL = 100
_BESIDE = ("canary", "baseline")
Tracks = dict[str, dict[str, Any]]


class KubernetesPlatform:
    """One model's release. ``repository`` holds its images."""

    def __init__(self, settings: Kubernetes, repository: str, rules: RolloutRules) -> None:
        self._cluster = Cluster(settings.namespace)
        self._helm = Helm(settings.namespace, CHART)
        self._settings = settings
        self._repository = repository
        self._rules = rules

    def release(self, name: str, role: Role) -> Release | None:
        """Return what runs in a role as it is now, None when nothing does."""
        found = self._cluster.deployment(f"{name}-{role}")
        if found is None:
            return None
        version, digest = (found.metadata.labels["zeta.dev/version"], found.metadata.annotations["zeta.dev/digest"])
        host = name if role == "stable" else f"{name}-{role}"
        address = f"http://{host}.{self._cluster.namespace}.svc"
        pods = [pod for pod in self._cluster.pods(name, role) if pod.metadata.deletion_timestamp is None]
        servers = (sum(map(_ready, pods)), found.spec.replicas)
        return Release(version, digest, self._settled(name, role), address, servers)

    def seen(self, name: str, role: Role) -> Release | None:
        """Return the same: here nothing is started or awaited anyway."""
        return self.release(name, role)

    def start_canary(self, name: str, version: str, digest: str) -> Release:
        """Start a canary and beside it a fresh baseline of what is stable; return it when both are ready.

        Permanent, with events and the logs' last lines, when one never is; then neither is there.
        """

        stable = self.release(name, "stable")

        def started(tracks: Tracks) -> None:
            tracks["canary"] = self._track(version, digest)
            if "stable" in tracks:
                # A run that was killed may have left its share with the canary.
                tracks["stable"] |= {"weight": _ALL}
            if stable and stable.ready:
                tracks["baseline"] = tracks["stable"] | {"replicas": 1, "weight": 0}

        self._change(name, started, _BESIDE)
        return self._running(name, "canary")

    def split(self, name: str, percent: int) -> bool:
        """Send the canary a share of the live requests and the baseline as much: by weight where there is a gateway,
        else by the number of replicas, which is as near as those of the champion allow."""

        def shared(tracks: Tracks) -> None:
            rest = _ALL - 2 * percent
            stable = tracks["stable"]["replicas"]
            replicas = stable if rest <= 0 else min(stable, math.ceil(stable * percent / rest))
            for role in ("canary", "baseline"):
                tracks[role] |= {"weight": percent}
                tracks[role] |= {} if self._settings.gateway else {"replicas": replicas}
            tracks["stable"] |= {"weight": max(0, rest)}

        self._change(name, shared, _BESIDE)
        return True

    def observe(self, name: str, role: Role) -> Observation:
        """Return what a role's pods have counted, added up.

        Permanent when one that was started for this roll-out has died, one is silent for long, or there is none.
        """
        deadline = time.monotonic() + (_UNSCRAPED_SECONDS if self._settings.prometheus else _SILENT_SECONDS)
        while True:
            pods = self._cluster.pods(name, role)
            deaths = [text for pod in pods if (text := self._cluster.death(pod))]
            if deaths and role in _BESIDE:
                raise Permanent(f"{role}: {'; '.join(deaths)}\n{self._cluster.evidence(pods)}")
            try:
                if pods:
                    return self._counted([pod.metadata.name for pod in pods])
                raise Permanent(f"{role}: there is no pod")
            except Permanent:
                # The kubelet tells of a death a moment later.
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    def _counted(self, pods: list[str]) -> Observation:
        if self._settings.prometheus:
            return Prometheus(self._settings.prometheus).observe(self._cluster.namespace, pods)
        pages = (self._cluster.ask("pods", f"{pod}:8080", "/metrics") for pod in pods)
        return sum(map(observation.read, pages), Observation())

    def predict(self, name: str, role: Role, rows: list[dict[str, Any]]) -> list[Any]:
        """Return what a role's Service answers, asked through the API server."""
        service = f"{name}-{role}:http"
        answer = self._cluster.ask("services", service, "/invocations", {"dataframe_records": rows})
        found: list[Any] = msgspec.json.decode(answer)["predictions"]
        return found

    def promote(self, name: str) -> Release:
        """Let the stable pods be replaced by ones with the canary's digest; return when no old one is left.

        Permanent when they do not become ready; then the old ones still serve.
        """

        def promoted(tracks: Tracks) -> None:
            if "canary" in tracks:
                tracks["stable"] = tracks["canary"] | {"replicas": self._rules.replicas, "weight": _ALL}
                tracks.pop("baseline", None)

        self._change(name, promoted, ("stable",))
        return self._running(name, "stable")

    def remove_canary(self, name: str) -> None:
        """Remove the canary and its baseline; all live requests are the stable pods' again."""

        def alone(tracks: Tracks) -> None:
            tracks.pop("canary", None)
            tracks.pop("baseline", None)
            if "stable" in tracks:
                tracks["stable"] |= {"weight": _ALL}

        self._change(name, alone, _BESIDE)

    def remove(self, name: str) -> None:
        """Uninstall the release."""
        self._cluster.call(lambda: self._helm.uninstall(name))

    def _running(self, name: str, role: Role) -> Release:
        found = self.release(name, role)
        if found is None or not found.ready:
            raise Permanent(f"{name}: there is no {role} that is ready; start one first")
        return found

    def _change(self, name: str, change: Callable[[Tracks], None], awaited: tuple[str, ...]) -> None:
        """Change the tracks and wait until those ``awaited`` are as wanted; when they never are, undo the change."""
        before = (self._cluster.call(lambda: self._helm.values(name)) or {}).get("tracks", {})
        tracks = deepcopy(before)
        change(tracks)
        if tracks != before:
            self._apply(name, tracks)
        try:
            self._wait(name, tracks, awaited)
        except Permanent as error:
            self._apply(name, before)
            try:
                self._wait(name, before, awaited)
            except Permanent as second:
                raise Permanent(f"{error}\nand the release before it does not come back: {second}") from error
            raise

    def _apply(self, name: str, tracks: Tracks) -> None:
        if tracks:
            self._cluster.call(lambda: self._helm.upgrade(name, self._values(name, tracks)))
        else:
            self.remove(name)

    def _values(self, name: str, tracks: Tracks) -> dict[str, Any]:
        values: dict[str, Any] = {
            "tracks": tracks,
            "startSeconds": START_SECONDS,
            "pullSecret": self._settings.pull_secret,
        }
        if self._settings.gateway:
            space, _, gateway = self._settings.gateway.partition("/")
            hosts = [f"{name}.{self._settings.domain}"]
            parent = {"namespace": space, "name": gateway}
            values["gateway"] = {"enabled": True, "parentRef": parent, "hostnames": hosts}
        return values

    def _track(self, version: str, digest: str) -> dict[str, Any]:
        resources = self._rules.resources
        return {
            "version": version,
            "image": f"{self._repository}@{digest}",
            "replicas": 1,
            "weight": 0,
            "resources": {
                "requests": {"cpu": resources.cpu, "memory": resources.memory},
                "limits": {"cpu": resources.cpu_limit, "memory": resources.memory},
            },
        }

    def _wait(self, name: str, tracks: Tracks, awaited: tuple[str, ...]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while waiting := [role for role in awaited if not self._settled(name, role, role in tracks)]:
            pods = [pod for role in waiting for pod in self._cluster.pods(name, role)]
            begun = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
            faults = [fault for pod in begun if (fault := self._cluster.fatal(pod))]
            if faults or time.monotonic() > deadline:
                why = "; ".join(faults) or f"not ready within {START_SECONDS} s"
                evidence = self._cluster.evidence([pod for pod in begun if not _ready(pod)])
                raise Permanent(f"{name}: {', '.join(waiting)}: {why}\n{evidence}")
            time.sleep(_POLL_SECONDS)

    def _settled(self, name: str, role: str, wanted: bool = True) -> bool:
        """Tell whether a role's pods are as many as wanted, of the wanted kind, ready, and no other is left."""
        found = self._cluster.deployment(f"{name}-{role}")
        pods = len(self._cluster.pods(name, role))
        if found is None or not wanted:
            return not wanted and found is None and pods == 0
        status, replicas = found.status, found.spec.replicas
        counts = (status.replicas, status.updated_replicas, status.available_replicas, pods)
        return status.observed_generation == found.metadata.generation and set(counts) == {replicas}


def _ready(pod: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
