import json
import re

import pytest

from pipeline import base, image
from pipeline.adapters.bundle import Bundle
from pipeline.base import Under
from pipeline.errors import ConfigError
from pipeline.image import Digest
from pipeline.settings import ROOT

A, B = "a" * 64, "b" * 64
UNDER = Under("python:3.11-slim", "sha256:" + "0" * 64)
LOCK = f"""# made by hand
numpy==2.4.6 ; python_full_version < '3.0' \\
    --hash=sha256:{A}
numpy==2.5.5 ; python_full_version >= '3.0' \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
psycopg[binary]==3.2 --hash=sha256:{B}
pywin32==312 ; sys_platform == 'win32' \\
    --hash=sha256:{A}
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "images/model").mkdir(parents=True)
    (tmp_path / "images/install.txt").write_text(f"uv==1 --hash=sha256:{A}\n")
    (tmp_path / "images/model/requirements.txt").write_text(LOCK)
    (tmp_path / "images/model/Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def locked(folder, text):
    path = folder / "own.txt"
    path.write_text(text)
    return path


def test_a_lock_tells_what_an_image_installs_whatever_machine_builds_it(checkout):
    packages = base.packages(checkout / "images/model/requirements.txt")
    assert [(one.name, one.version, one.installed) for one in packages] == [
        ("numpy", "2.4.6", False),
        ("numpy", "2.5.5", True),
        ("psycopg", "3.2", True),
        ("pywin32", "312", False),
    ]
    assert packages[1].hashes == (A, B)


@pytest.mark.parametrize("kind", base.REPOSITORIES)
def test_the_locks_of_this_checkout_are_read_whole(kind):
    lock = ROOT / "images" / kind / "requirements.txt"
    assert sum(len(one.hashes) for one in base.packages(lock)) == lock.read_text().count("--hash=")


@pytest.mark.parametrize(
    "line", ["tqdm", "tqdm==4", f"tqdm>=4 --hash=sha256:{A}", "-r other.txt", "tqdm==4 --hash=md5:0"]
)
def test_a_line_that_pins_nothing_is_named(checkout, line):
    with pytest.raises(ConfigError, match=r"own\.txt.*tqdm|own\.txt.*other"):
        base.context("model", checkout, locked(checkout, f"packaging==1 --hash=sha256:{B}\n{line}\n"), {})


def test_a_models_own_lock_may_repeat_and_add_but_not_change_what_all_models_have(checkout):
    fits = locked(checkout, f"numpy==2.5.5 --hash=sha256:{A}\ntqdm==4 --hash=sha256:{B}\n")
    assert base.context("model", checkout, fits, {})["/locks/run/own.txt"] == fits
    with pytest.raises(ConfigError, match=r"numpy==1\.9: all models have 2\.4\.6, 2\.5\.5"):
        base.context("model", checkout, locked(checkout, f"numpy==1.9 --hash=sha256:{A}"), {})


def test_a_name_follows_from_every_input_and_can_be_a_tag():
    first = base.name("a", "b")
    assert base.name("a", "b") == first
    assert len({first, base.name("a", "c"), base.name("ab"), base.name("b", "a")}) == 4
    assert len(first) == 32
    assert int(first, 16)


@pytest.mark.parametrize("kind", base.REPOSITORIES)
def test_what_a_dockerfile_copies_is_part_of_its_context_and_so_of_its_name(kind, tmp_path):
    copied = set(re.findall(r"(?m)^COPY (\w\S*) ", (ROOT / "images" / kind / "Dockerfile").read_text()))
    known = {name.split("/")[1] for name in base.context(kind, ROOT, None, {"helm": tmp_path})}
    # What lies in wheels/ follows from the locks.
    assert copied - known == {"wheels"}


def test_a_server_has_as_many_threads_in_a_pod_as_on_this_machine(tmp_path):
    told = re.findall(r"\w+_NUM_THREADS=\S+", (ROOT / "images/model/Dockerfile").read_text())
    here = Bundle(tmp_path, tmp_path).environment()
    assert told
    assert told == [f"{name}={value}" for name, value in here.items() if name.endswith("_NUM_THREADS")]


def test_the_last_layer_holds_code_and_for_airflow_what_its_dags_read(tmp_path):
    assert base.application("model", ROOT, tmp_path) == image.application(ROOT)
    assert base.application("airflow", ROOT, tmp_path)["/app/models"] == tmp_path
    assert base.application("mlflow", ROOT, tmp_path) == {}


def test_a_bill_of_materials_lists_all_that_is_installed_and_is_always_the_same(checkout):
    locks = [checkout / "images/model/requirements.txt", locked(checkout, f"numpy==2.5.5 --hash=sha256:{A}")]
    helm = Digest.of(b"helm")
    bill = base.bill("zeta-base:1", locks, UNDER, {"helm": helm})
    assert bill == base.bill("zeta-base:1", locks, UNDER, {"helm": helm})
    content = json.loads(bill)
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    found = {one["name"]: one for one in content["components"]}
    assert sorted(found) == ["helm", "numpy", "psycopg", "python:3.11-slim"]
    assert found["numpy"]["purl"] == "pkg:pypi/numpy@2.5.5"
    assert found["helm"]["hashes"] == [{"alg": "SHA-256", "content": helm.hex}]
    assert found["python:3.11-slim"]["version"] == UNDER.digest
    references = [one["bom-ref"] for one in content["components"]]
    assert len(set(references)) == len(references)


def test_images_are_joined_by_what_the_one_has_above_what_both_begin_with():
    def made(*layers):
        found = image.empty("x86_64")
        for name in layers:
            found = image.append(found, image.measured([name.encode()]), {"of": name}, {"OF": name})
        return found

    below, top = made("root", "jobs", "code"), made("root", "airflow", "dags")
    both = base.joined(below, top, {"BY": "code", "OF": "both"})
    assert both.layers == below.layers + top.layers[1:]
    assert both.labels == {"of": "code"}
    config = json.loads(both.config)
    assert config["config"]["Env"] == ["PYTHONPATH=/app", "OF=both", "BY=code"]
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in both.layers]
    assert len(config["history"]) == len(both.layers)
    assert base.joined(below, below, {}).layers == below.layers


def test_an_image_of_dockers_is_made_plain_without_time_and_place():
    def built(when, host):
        found = image.append(image.empty("x86_64"), image.measured([b"layer"]), {"a": "b"}, {"PATH": "/bin"})
        manifest, config = json.loads(found.manifest), json.loads(found.config)
        manifest |= {"mediaType": base.DOCKER}
        manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
        manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        config |= {"created": when, "container": host, "docker_version": "20", "history": [{"created": when}]}
        config["config"] |= {"Hostname": host, "Cmd": None, "User": "65532"}
        return image.written(manifest, config)

    first, second = built("2026-01-01T00:00:00Z", "a1"), built("2026-01-02T00:00:00Z", "b2")
    assert first.digest != second.digest
    plain = base.plain(first)
    assert plain == base.plain(second) == base.plain(plain)
    types = [part.media_type for part in image.parts(plain.manifest)]
    assert types == [image.CONFIG, f"{image.LAYER}+gzip"]
    settings = json.loads(plain.config)["config"]
    assert (settings["User"], settings["Labels"], "PATH=/bin" in settings["Env"]) == ("65532", {"a": "b"}, True)
    assert plain.layers[0].digest == first.layers[0].digest
