"""What Debian has of the cluster: installed where it is missing, without a start of the services in it."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import DockerException

from tests.cluster.steps import Failed, run, step

PACKAGES = {
    "containerd": "containerd", "runc": "runc", "etcd": "etcd-server", "docker-registry": "docker-registry",
    "dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2", "openssl": "openssl",
    "mmdebstrap": "mmdebstrap", "nft": "nftables", "prometheus": "prometheus", "skopeo": "skopeo",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}  # fmt: skip
_POLICY, _DENIAL = Path("/usr/sbin/policy-rc.d"), "#!/bin/sh\n# By Zeta's test cluster, while it installs.\nexit 101\n"


def install() -> None:
    """Install the packages of the programs that are missing. Raises Failed where there is no apt-get."""
    missing = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if docker_answers():
        missing.discard("docker.io")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise Failed(f"missing: {', '.join(sorted(missing))} (Debian's names); install them, there is no apt-get here")
    with step(f"installing {', '.join(sorted(missing))}"), _no_services():
        run("apt-get", "-qq", "update")
        install = ["install", "--yes", "--no-install-recommends", *sorted(missing)]
        run("apt-get", "-qq", *install, DEBIAN_FRONTEND="noninteractive")


def docker_answers() -> bool:
    """Whether some Docker is there already."""
    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except DockerException:
        return False


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    own = not _POLICY.exists() or _POLICY.read_text() == _DENIAL
    if own:
        _POLICY.write_text(_DENIAL)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if own:
            _POLICY.unlink()
