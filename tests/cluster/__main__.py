"""`python -m tests.cluster up` starts a Kubernetes of one node and a registry; `down` takes away all that it left.

Standard output is for a shell: the variables that name them, and as comments what was measured.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster import components, identity, machine, packages, processes, programs, rootfs, trial
from tests.cluster.steps import CONSOLE, Failed, run, step

STATE = Path(os.environ.get("ZETA_CLUSTER", "/var/lib/zeta-cluster")).absolute()
_PARTIAL = STATE.with_name(f"{STATE.name}.partial")
_RECORD = STATE / "record.json"
_KUBECONFIG = STATE / "config/admin.kubeconfig"


def up() -> None:
    """Start what does not run yet, or check the cluster that the environment names; print how to use it."""
    given = {name: os.environ.get(name, "") for name in ("KUBECONFIG", "ZETA_REGISTRY")}
    if any(given.values()) and given["KUBECONFIG"] != str(_KUBECONFIG):
        _check(*given.values())
        print("export " + " ".join(f"{name}={text}" for name, text in given.items()))
        return
    with _alone():
        packages.install()
        binaries = programs.prepared()
        made_from = _made_from(binaries)
        if _record().get("made_from", made_from) != made_from:
            _remove()
        fresh = not _RECORD.exists()
        try:
            _start(binaries, made_from)
        except Failed as error:
            if fresh:
                raise
            CONSOLE.print(f"{error}\nIt is made anew.", markup=False)
            _remove()
            _start(binaries, made_from)
        with step("an image to start base images from"):
            _tell(binaries, _base_image())


def down() -> None:
    """Remove the cluster and its registry; Debian's packages and the compiled programs stay."""
    with _alone():
        _remove()


def _start(binaries: Path, made_from: str) -> None:
    """Start what does not run. Raises Failed with the part that does not, and the end of its log."""
    begin, cold = time.monotonic(), not _RECORD.exists()
    if cold:
        _begin(made_from)
    record = _record()
    with step("network, keys, configuration"):
        for folder in ("config", "log"):
            (STATE / folder).mkdir(exist_ok=True)
        machine.prepare()
        identity.issue(STATE / "pki", STATE / "config")
        # Only a Docker of the cluster's own has its data here.
        foreign = packages.docker_answers() and not (STATE / "docker").exists()
        parts = components.configure(STATE, binaries, record["port"], without={"docker"} if foreign else set())
    with step("containerd, Docker, registry, Kubernetes, CoreDNS"):
        components.start([part for part in parts if "gateway-api" not in part.after], STATE)
        trial.load(binaries, STATE)
    with step("Gateway API, Traefik"):
        kubectl: list[str | Path] = [binaries / "kubectl", f"--kubeconfig={_KUBECONFIG}"]
        for file in (binaries / "gateway-api.yaml", STATE / "config/gateway.yaml"):
            run(*kubectl, "apply", "--server-side", "--filename", file)
        components.start(parts, STATE)
        run(*kubectl, "wait", "--namespace=gateway", "--for=condition=Programmed", "gateway/zeta", "--timeout=180s")
    with step("a pod that answers"):
        trial.answer(_KUBECONFIG)
    if cold:
        changed = _RECORD.with_suffix(".partial")
        changed.write_text(json.dumps(record | {"cold_start": time.monotonic() - begin}))
        changed.rename(_RECORD)


def _begin(made_from: str) -> None:
    """Remember what the machine is like, before anything is changed: there is no folder without it."""
    if STATE.exists():
        raise Failed(f"{STATE} is no cluster's folder; move it away, or name another one with ZETA_CLUSTER")
    shutil.rmtree(_PARTIAL, ignore_errors=True)
    _PARTIAL.mkdir(parents=True)
    record = {"before": machine.snapshot(), "made_from": made_from, "port": _free_port()}
    (_PARTIAL / _RECORD.name).write_text(json.dumps(record))
    _PARTIAL.rename(STATE)


def _remove() -> None:
    shutil.rmtree(_PARTIAL, ignore_errors=True)
    with step("removing the cluster"):
        record = _record()
        if record or processes.members(processes.OWN):
            processes.kill()
        if record:
            machine.restore(record["before"], STATE)
            shutil.rmtree(STATE)


def _base_image() -> str:
    """Return what stands in for Docker Hub's image of this Python; '' where Debian has no such Python."""
    try:
        with contextlib.closing(docker.from_env()) as engine:
            return rootfs.imported(engine)
    except rootfs.Missing as error:
        CONSOLE.print(f"ZETA_BASE_IMAGE is left to you: {error}", markup=False)
        return ""


def _tell(binaries: Path, base_image: str) -> None:
    record = _record()
    variables = f"export KUBECONFIG={_KUBECONFIG} ZETA_REGISTRY=127.0.0.1:{record['port']}"
    variables += f" ZETA_BASE_IMAGE={base_image}" if base_image else ""
    (STATE / "env").write_text(f"{variables}\n")
    cold = f"{record['cold_start']:.1f} s" if "cold_start" in record else "not measured, it was interrupted"
    print(
        f"{variables}\nexport PATH={binaries}:$PATH\n"
        f"# Gateway: ZETA_GATEWAY=gateway/zeta, http://{machine.NODE}:8000. "
        f"In pods: this machine is {machine.NODE}, the registry {machine.NODE}:{record['port']}.\n"
        f"# Cold start, from nothing to a pod that answers: {cold}.\n"
        f"# Memory of all components now: {processes.memory() / 2**20:.0f} MiB."
    )


def _check(kubeconfig: str, registry: str) -> None:
    """Ask a given cluster and a given registry something. Raises Failed when one does not answer."""
    if not (kubeconfig and registry):
        raise Failed(
            f"KUBECONFIG={kubeconfig!r}, ZETA_REGISTRY={registry!r}: give both, or neither to start a cluster here"
        )
    try:
        client.VersionApi(config.new_client_from_config(kubeconfig)).get_code(_request_timeout=10)
    except (OSError, config.ConfigException, ApiException, HTTPError) as error:
        raise Failed(f"KUBECONFIG={kubeconfig}: the cluster does not answer: {error}") from error
    host = registry.partition("/")[0]
    errors = []
    for scheme in ("https", "http"):
        try:
            httpx.get(f"{scheme}://{host}/v2/", timeout=10)
            return
        except httpx.TransportError as error:
            errors.append(f"{scheme}: {error}")
    raise Failed(f"ZETA_REGISTRY={registry}: the registry does not answer ({'; '.join(errors)})")


def _made_from(binaries: Path) -> str:
    """Return what a cluster is made from; the boot too, since nothing that runs outlives it."""
    files = sorted(components.CONFIG.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return f"{binaries} {digest} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def _free_port() -> int:
    for port in range(5000, 5100):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                attempt.bind(("127.0.0.1", port))
                return port
    raise Failed("no port from 5000 to 5099 is free for the registry")


def _record() -> dict[str, Any]:
    return json.loads(_RECORD.read_text()) if _RECORD.exists() else {}


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait for another `up` or `down` to end. Raises Failed for a user who may not start daemons."""
    if os.geteuid():
        raise Failed("a cluster of processes wants root; or give one: KUBECONFIG and ZETA_REGISTRY")
    programs.CACHE.mkdir(parents=True, exist_ok=True)
    lock = os.open(programs.CACHE, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def main() -> None:
    """Do what the command line says."""
    commands = {"up": up, "down": down}
    if sys.argv[1:] not in ([name] for name in commands):
        sys.exit("expected: python -m tests.cluster up|down")
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    try:
        commands[sys.argv[1]]()
    except Failed as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
