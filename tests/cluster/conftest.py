"""The cluster that tests run on: KUBECONFIG's, or the one that `make cluster` has started."""

import importlib.util
import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import image
from pipeline.adapters.docker import Base
from pipeline.adapters.kubernetes import KubernetesPlatform
from pipeline.adapters.remote import Remote
from pipeline.config import Canary, Resources, RolloutRules
from pipeline.manifest import Golden, Manifest
from pipeline.rollout import Proof, Target, roll_out
from pipeline.settings import ROOT, Kubernetes
from pipeline.verdict import Rollout
from tests.cluster.faults import plant
from tests.cluster.load import Load

STATE = Path(os.environ.get("ZETA_CLUSTER", "/var/lib/zeta-cluster"))
RULES = RolloutRules(
    replicas=2,
    canary=Canary(steps=[10, 50], hold="6s", requests=50),
    resources=Resources(cpu="100m", memory="512Mi"),
)


@pytest.fixture(scope="session")
def cluster():
    """Let this process use the cluster; skip where there is none."""
    given = {name: os.environ[name] for name in ("KUBECONFIG", "ZETA_REGISTRY") if name in os.environ}
    if len(given) < 2 and (STATE / "env").exists():
        words = shlex.split((STATE / "env").read_text())
        given = dict(word.split("=", 1) for word in words if "=" in word)
    if not {"KUBECONFIG", "ZETA_REGISTRY"} <= given.keys():
        pytest.skip("no cluster: set KUBECONFIG and ZETA_REGISTRY, or run: make cluster")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        # Whatever else is on the PATH: what `make lint` has installed is Helm 4.
        patch.setenv("PATH", f"{ROOT / '.zeta/envs/helm'}:{os.environ['PATH']}")
        yield given


@pytest.fixture(scope="session")
def namespace(cluster):
    """A namespace that lets only restricted pods in."""
    from kubernetes import client, config

    config.load_config(config_file=cluster["KUBECONFIG"])
    core = client.CoreV1Api()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    name = core.create_namespace({"metadata": {"generateName": "zeta-test-", "labels": labels}}).metadata.name
    yield name
    core.delete_namespace(name)
    deadline = time.monotonic() + 120
    while any(one.metadata.name == name for one in core.list_namespace().items):
        assert time.monotonic() < deadline, f"namespace {name} does not go"
        time.sleep(1)


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy", ROOT / "tests/serving/toy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Images:
    """Images of models in the registry: version 1 and 2 of the titles, and faulty ones of version 2."""

    remote: Remote
    roots: dict[str, Path]
    base: str
    digests: dict[str, str] = field(default_factory=dict)

    def target(self, name: str) -> Target:
        return Target(name.partition("-")[0], self.digests[name])

    def proof(self, name: str, rows: int = 300) -> Proof:
        """What the image must answer, and what its model answers for fresh rows."""
        manifest = Manifest.read(self.roots[name.partition("-")[0]] / "model")
        golden = manifest.golden
        fresh = [golden.rows[index % len(golden.rows)] for index in range(rows)]
        answers = [golden.predictions[index % len(golden.rows)] for index in range(rows)]
        return Proof(golden, Golden(fresh, answers))


@pytest.fixture(scope="session")
def base_image():
    """What base images start from."""
    given = os.environ.get("ZETA_BASE_IMAGE", "")
    if given:
        return given
    import docker

    from tests.cluster.rootfs import imported

    return imported(docker.from_env())


@pytest.fixture(scope="session")
def images(cluster, base_image, toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    remote = Remote(cluster["ZETA_REGISTRY"], "titles", Base(under=base_image).build)
    base = remote.build_base(image.application(ROOT))
    # The same labels, so that only what is planted tells the versions' answers apart.
    made = Images(
        remote,
        {version: toy.titles(folder / version, "x") for version in ("1", "2")},
        f"{remote.located('zeta-base')}@{base}",
    )
    for version, root in made.roots.items():
        labels, model = {"zeta.version": version}, {"/model": root / "model"}
        made.digests[version] = str(remote.append_model(base, model, labels, f"titles:{version}"))
    for fault in ("errors", "latency", "shifted", "wrong", "dies"):
        below = ("titles", image.Digest(made.digests["2"]))
        made.digests[f"2-{fault}"] = str(remote.append(below, plant(fault, folder), {}, f"titles:2-{fault}"))
    return made


@pytest.fixture(scope="session")
def settings(cluster, namespace):
    return Kubernetes(
        namespace=namespace, registry=cluster["ZETA_REGISTRY"], gateway="", domain="models.test", prometheus="",
        pull_secret="", base_image="", base=None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def own(cluster):
    """The cluster is that of `make cluster`, whose parts are known and may be killed; skip when it is another one."""
    if cluster["KUBECONFIG"] != str(STATE / "config/admin.kubeconfig"):
        pytest.skip("the cluster was not started by `make cluster`")


@pytest.fixture(scope="module")
def platform(request, settings, images):
    """A platform without the module's model ``NAME``, before and after."""
    found = KubernetesPlatform(settings, images.remote.repository, RULES)
    yield found
    found.remove(request.module.NAME)


def promoted(platform, images, name) -> Target:
    """Let version 1 serve, whatever did; return it."""
    target, stable = images.target("1"), platform.release(name, "stable")
    if stable is None or stable.digest != target.digest:
        verdict = roll_out(platform, name, target, images.proof("1"), None)
        assert verdict.outcome == Rollout.PROMOTED, verdict.reasons
    return target


@pytest.fixture
def load(namespace, images):
    """Ask a model from inside of the cluster: ``with load(name) as asked: ...``, then ``asked.failed`` is empty."""
    return lambda name, **options: Load(namespace, images.base, name, **options)
