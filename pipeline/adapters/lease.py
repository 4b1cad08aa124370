"""A lock between processes of any machine: a Lease in the cluster, renewed as long as its holder lives."""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.adapters.cluster import Cluster
from pipeline.errors import Temporary

_SECONDS = 60
_RENEW_SECONDS = 15
_LOG = logging.getLogger("zeta.lease")


@contextmanager
def held(cluster: Cluster, name: str) -> Iterator[None]:
    """Hold the Lease of a model; Temporary while another process holds it. One that is not renewed ends by itself."""
    holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    _take(cluster, name, holder)
    ended = threading.Event()
    renewer = threading.Thread(target=_renew, args=(cluster, name, holder, ended), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        lease = _read(cluster, name)
        if lease is not None and lease.spec.holder_identity == holder:
            _write(cluster, name, lease, "")


def _take(cluster: Cluster, name: str, holder: str) -> None:
    from kubernetes.client import ApiException

    lease = _read(cluster, name)
    spec = lease.spec if lease else None
    if spec and spec.holder_identity and datetime.now(UTC) < spec.renew_time + timedelta(seconds=_SECONDS):
        raise Temporary(f"{name}: {spec.holder_identity} is at work on its release since {spec.acquire_time:%H:%M:%S}")
    try:
        _write(cluster, name, lease, holder)
    except ApiException as error:
        if error.status == 409:
            raise Temporary(f"{name}: another process took its release at the same moment") from error
        raise


def _renew(cluster: Cluster, name: str, holder: str, ended: threading.Event) -> None:
    while not ended.wait(_RENEW_SECONDS):
        try:
            lease = _read(cluster, name)
            if lease is None or lease.spec.holder_identity != holder:
                _LOG.error("%s: the lease of this process is gone", name)
                return
            _write(cluster, name, lease, holder)
        except Exception:
            # It lasts for three more tries.
            _LOG.exception("%s: the lease is not renewed", name)


def _read(cluster: Cluster, name: str) -> Any:
    read = cluster.leases.read_namespaced_lease
    return cluster.found(lambda: read(name, cluster.namespace))


def _write(cluster: Cluster, name: str, lease: Any, holder: str) -> None:
    """Write who holds the lease; of two that write at the same time one gets a conflict."""
    from kubernetes import client

    now = datetime.now(UTC)
    since = lease.spec.acquire_time if lease and lease.spec.holder_identity == holder else now
    spec = client.V1LeaseSpec(
        holder_identity=holder, lease_duration_seconds=_SECONDS, acquire_time=since, renew_time=now
    )
    if lease is None:
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=spec)
        cluster.call(lambda: cluster.leases.create_namespaced_lease(cluster.namespace, body))
    else:
        body = client.V1Lease(metadata=lease.metadata, spec=spec)
        cluster.call(lambda: cluster.leases.replace_namespaced_lease(name, cluster.namespace, body))
