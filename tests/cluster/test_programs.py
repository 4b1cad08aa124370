"""The cache of programs: named by what they are made from; what does not compile is named too."""

import shutil
import subprocess

import pytest

from tests.cluster import programs, trial
from tests.cluster.steps import Failed


@pytest.mark.parametrize("changed", ["cluster/go/go.sum", "cluster/go/coredns/main.go", "helm/requirements.txt"])
def test_a_change_of_any_source_gives_the_programs_another_name(changed, tmp_path, monkeypatch):
    before = programs.name()
    shutil.copytree(programs.HERE / "go", tmp_path / "cluster/go")
    shutil.copytree(programs.HERE.parent / "helm", tmp_path / "helm")
    monkeypatch.setattr(programs, "HERE", tmp_path / "cluster")
    assert programs.name() == before

    with (tmp_path / changed).open("a") as file:
        file.write("\n")

    assert programs.name() != before


def test_a_folder_of_ready_programs_must_hold_them_all(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_BIN", str(tmp_path))
    for name in programs.NAMES - {"kubelet"}:
        (tmp_path / name).touch()
    with pytest.raises(Failed, match=f"KUBERNETES_BIN={tmp_path}: expected kubelet there"):
        programs.prepared()
    (tmp_path / "kubelet").touch()
    assert programs.prepared() == tmp_path


def test_a_failed_build_says_which(tmp_path):
    if shutil.which("go") is None:
        pytest.skip("there is no Go")
    for name, text in {"whole": "func main() {}", "broken": "func main() { missing() }"}.items():
        folder = tmp_path / "source" / name
        folder.mkdir(parents=True)
        (folder / "main.go").write_text(f"package main\n\n{text}\n")
    (tmp_path / "source/go.mod").write_text("module zeta/test\n\ngo 1.25.0\n")
    (tmp_path / "bin").mkdir()
    with pytest.raises(Failed, match=r"(?s)go build failed in the package zeta/test/broken.*undefined: missing"):
        programs.Go(tmp_path).build(lambda _: None)


def test_the_image_of_a_program_is_one_that_others_read(tmp_path):
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    (tmp_path / "pause").write_bytes(b"a program")
    (tmp_path / "pause.tar").write_bytes(trial.image(tmp_path / "pause"))
    source, target = f"docker-archive:{tmp_path}/pause.tar", f"oci:{tmp_path}/layout:pause"
    subprocess.run(["skopeo", "copy", "--quiet", source, target], check=True)
    config = subprocess.run(["skopeo", "inspect", "--config", target], check=True, capture_output=True, text=True)
    assert '"Entrypoint":["/pause"]' in config.stdout.replace(" ", "").replace("\n", "")
