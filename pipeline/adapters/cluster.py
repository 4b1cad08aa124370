"""A namespace of a Kubernetes cluster: its pods, what they answer through the API server, what became of those that
do not."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from pipeline.errors import ConfigError, Permanent, Temporary

_T = TypeVar("_T")
_PATIENCE_SECONDS = 60.0
_ANSWER_SECONDS = 120.0
_LOG_LINES = 10
_EVENTS = 5
# A container that waits for one of these does not get better by waiting.
_FATAL = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError",
    "CrashLoopBackOff", "RunContainerError",
)  # fmt: skip
_UNSCHEDULABLE_SECONDS = 20.0
# An API server that starts, ends, or has lost sight of its database.
_BUSY = (429, 500, 502, 503, 504)


class Cluster:
    """One namespace. An API server that does not answer is asked again for a minute, then it is Temporary."""

    def __init__(self, namespace: str) -> None:
        from kubernetes import client, config

        try:
            # Named: the package itself looks at the variable only once, when it is imported.
            named = os.environ.get("KUBECONFIG")
            if "KUBERNETES_SERVICE_HOST" in os.environ and not named:
                config.load_incluster_config()
            else:
                config.load_config(**({"config_file": named} if named else {}))
        except config.ConfigException as error:
            raise ConfigError(f"no Kubernetes cluster is configured ({error}); set KUBECONFIG") from error
        self.namespace = namespace
        self.leases = client.CoordinationV1Api()
        self._core = client.CoreV1Api()
        self._apps = client.AppsV1Api()

    def deployment(self, name: str) -> Any | None:
        """Return a Deployment, None when there is none."""
        return self.found(lambda: self._apps.read_namespaced_deployment(name, self.namespace))

    def pods(self, model: str, track: str) -> list[Any]:
        """Return the serving pods of one track of a model, those that end included."""
        labels = f"app.kubernetes.io/component=server,zeta.dev/model={model},zeta.dev/track={track}"
        found = self.call(lambda: self._core.list_namespaced_pod(self.namespace, label_selector=labels))
        return list(found.items)

    def ask(self, kind: str, target: str, path: str, body: Any = None) -> str:
        """Return what one of the ``kind`` pods or services answers at a path; ``target`` is its name and port.

        Permanent when it answers with an error, or nobody does.
        """
        from kubernetes.client import ApiException

        url = f"/api/v1/namespaces/{self.namespace}/{kind}/{target}/proxy{path}"
        headers = {"Content-Type": "application/json", "Accept": "*/*"}

        def answer() -> str:
            try:
                reply = self._core.api_client.call_api(
                    url, "GET" if body is None else "POST", header_params=headers, body=body,
                    auth_settings=["BearerToken"], _preload_content=False, _return_http_data_only=True,
                    _request_timeout=_ANSWER_SECONDS,
                )  # fmt: skip
            except ApiException as error:
                raise Permanent(f"{kind} {target} answers {path} with {error.status}: {error.body!r}") from error
            return str(reply.data.decode())

        return self.call(answer)

    def fatal(self, pod: Any) -> str | None:
        """Return why a pod will never be ready, None as long as it may be."""
        status = pod.status
        for condition in status.conditions or []:
            waited = (datetime.now(UTC) - (condition.last_transition_time or datetime.now(UTC))).total_seconds()
            if condition.reason == "Unschedulable" and waited > _UNSCHEDULABLE_SECONDS:
                return f"{pod.metadata.name} finds no node: {condition.message}"
        for container in status.container_statuses or []:
            waiting = container.state.waiting
            if waiting and waiting.reason in _FATAL:
                return f"{pod.metadata.name}: {waiting.reason}: {waiting.message}"
            if container.state.running and not container.ready:
                return self._refusal(pod.metadata.name)
        return None

    def death(self, pod: Any) -> str | None:
        """Return how a container of a pod has ended, None when none has, whether it was started again or not."""
        for container in pod.status.container_statuses or []:
            if container.restart_count or container.state.terminated:
                ended = container.last_state.terminated or container.state.terminated
                why = f"{ended.reason}, exit code {ended.exit_code}" if ended else "of an unknown reason"
                return f"{pod.metadata.name} died ({why})"
        return None

    def evidence(self, pods: list[Any]) -> str:
        """Return what is known of pods that are not ready: warnings, and how their logs end."""
        lines = []
        for name in (pod.metadata.name for pod in pods):
            lines += [f"{name}: {event.reason}: {event.message}" for event in self._warnings(name)[-_EVENTS:]]
            if log := self._log(name):
                lines.append(f"{name} ends with:\n{log}")
        return "\n".join(lines)

    def call(self, function: Callable[[], _T]) -> _T:
        """Call the API; while it does not answer, again for a minute. Permanent when it refuses for want of a right."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return function()
            except (ApiException, HTTPError, ConnectionError, Temporary) as error:
                if isinstance(error, ApiException) and error.status in (401, 403):
                    raise Permanent(
                        f"the Kubernetes API refuses: {error.body}; see helm/zeta for the rights"
                    ) from error
                if isinstance(error, ApiException) and error.status not in _BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise Temporary(f"the Kubernetes API does not answer: {error}") from error
                time.sleep(1)

    def found(self, function: Callable[[], _T]) -> _T | None:
        """Call the API for one object; None when there is none."""
        from kubernetes.client import ApiException

        try:
            return self.call(function)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _refusal(self, pod: str) -> str | None:
        """Return what a server that runs says against itself, None while it starts."""
        try:
            self.ask("pods", f"{pod}:8080", "/v2/health/ready")
        except Permanent as error:
            # The API server has a 503 of its own, for a port that nobody listens at yet.
            return str(error) if '"ready":false' in str(error) else None
        return None

    def _warnings(self, pod: str) -> list[Any]:
        fields = f"involvedObject.name={pod},type=Warning"
        found = self.call(lambda: self._core.list_namespaced_event(self.namespace, field_selector=fields))
        return list(found.items)

    def _log(self, pod: str) -> str:
        from kubernetes.client import ApiException

        with suppress(ApiException):  # A container that never ran has none.
            read = self._core.read_namespaced_pod_log
            found = read(pod, self.namespace, tail_lines=_LOG_LINES, _preload_content=False)
            return str(found.data.decode(errors="replace")).strip()
        return ""
