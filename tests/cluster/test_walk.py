"""The README's walk onto a cluster, as a newcomer would type it, after the one to a first release on this machine."""

import os
import re
import subprocess

import pytest

from pipeline.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
WALK = "".join(
    re.search(rf"## {title}.*?```sh\n(.*?)```", README, re.DOTALL)[1] for title in ("Add a model", "On your cluster")
)


@pytest.fixture
def space(cluster):
    """The name of a namespace that is not there, and will be gone."""
    from kubernetes import client, config

    config.load_config(config_file=cluster["KUBECONFIG"])
    name = f"zeta-walk-{os.getpid()}"
    yield name
    core = client.CoreV1Api()
    if name in {one.metadata.name for one in core.list_namespace().items}:
        core.delete_namespace(name)


def test_the_walk_ends_with_a_model_whose_pods_serve(installation, base_image, space):
    (installation.folder / "models").mkdir()
    script = WALK.replace("/tmp/shop.db", f"{installation.folder}/shop.db").replace(
        "namespace zeta", f"namespace {space}"
    )
    variables = {"ZETA_BASE_IMAGE": base_image, "ZETA_NAMESPACE": space}
    # A newcomer's shell is not one of make's, to which another make tells where it is.
    shell = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["bash", "-e", "-u", "-c", script], cwd=ROOT, env=shell | installation.environment | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    local, there = done.stdout.split(f"namespace/{space} created")
    assert "v1 ready" in local
    assert "price: good" in local
    assert "v1 ready" in there
    assert installation.registry.aliased("price", "champion").number == "1"
