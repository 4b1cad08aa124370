"""The values that the charts do not take: what is unknown, what does not fit, what is missing."""

import pytest

from tests.helm.chart import helm, merged, nested
from tests.helm.test_model import OPTIONS as MODEL
from tests.helm.test_zeta import OPTIONS as ZETA


def test_helm_model_takes_no_key_that_it_does_not_know(model):
    paths = [path for path in model.keys(MODEL) if path != ("monitoring", "labels")]
    assert len(paths) > 12
    for path in paths:
        said = model.refusal(merged(MODEL, nested((*path, "surplus"), 1)))
        assert "additional properties 'surplus' not allowed" in said, path


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("tracks", "canary", "image"), "", "/tracks/canary/image"),
        (("tracks", "canary", "image"), "127.0.0.1:5000/category:latest", "/tracks/canary/image"),
        (("tracks", "canary", "image"), "http://127.0.0.1:5000/category@sha256:" + "a" * 64, "/tracks/canary/image"),
        (("tracks", "canary", "image"), "sha256:" + "a" * 64, "/tracks/canary/image"),
        (("tracks", "canary", "image"), "127.0.0.1:5000/category@sha256:" + "A" * 64, "/tracks/canary/image"),
        (("tracks", "canary", "image"), "127.0.0.1:5000/category@sha256:" + "a" * 63, "/tracks/canary/image"),
        (("tracks", "canary", "image"), None, "missing property 'image'"),
        (("tracks", "canary", "version"), 4, "/tracks/canary/version"),
        (("tracks", "canary", "version"), "v" * 64, "/tracks/canary/version"),
        (("tracks", "canary", "version"), "4/5", "/tracks/canary/version"),
        (("tracks", "canary", "version"), "", "/tracks/canary/version"),
        (("tracks", "canary", "replicas"), 0, "/tracks/canary/replicas"),
        (("tracks", "canary", "replicas"), 1.5, "/tracks/canary/replicas"),
        (("tracks", "canary", "replicas"), "1", "/tracks/canary/replicas"),
        (("tracks", "canary", "weight"), -1, "/tracks/canary/weight"),
        (("tracks", "canary", "weight"), None, "missing property 'weight'"),
        (("tracks", "shadow"), {}, "'shadow' not allowed"),
        (("tracks",), None, "/tracks"),
        (("tracks", "canary", "resources", "limits", "memory"), None, "missing property 'memory'"),
        (("tracks", "canary", "resources", "limits", "memory"), "lots", "/tracks/canary/resources/limits/memory"),
        (("tracks", "canary", "resources", "requests", "cpu"), "0", "/tracks/canary/resources/requests/cpu"),
        (("startSeconds",), 1, "/startSeconds"),
        (("drainSeconds",), 0, "/drainSeconds"),
        (("pullSecret",), "Not_A_Name", "/pullSecret"),
        (("gateway", "parentRef"), {"name": "a" * 64}, "/gateway/parentRef/name"),
        (("gateway", "hostnames"), ["not a host"], "/gateway/hostnames/0"),
        (("gateway", "enabled"), True, "missing property 'name'"),
        (("monitoring", "labels"), {"release": "a" * 64}, "/monitoring/labels/release"),
        (("autoscaling", "cpu"), 101, "/autoscaling/cpu"),
    ],
)
def test_helm_model_refuses_a_value_that_does_not_fit_by_its_name(model, path, value, named):
    assert named in model.refusal(nested(path, value))


def test_a_route_without_a_host_is_refused_as_it_would_take_the_requests_of_every_model(model):
    said = model.refusal({"gateway": {"enabled": True, "parentRef": {"name": "web"}}})
    assert "/gateway/hostnames" in said


@pytest.mark.parametrize("name", ["a" * 41, "1category", "a--b", "a.b", "category-canary", "category-test"])
def test_a_release_that_is_not_named_like_a_model_is_refused(model, name):
    assert f'release "{name}": expected a model\'s name' in model.refusal(release=name)


def test_helm_zeta_takes_no_key_that_it_does_not_know(zeta):
    paths = list(zeta.keys(ZETA))
    assert len(paths) > 20
    for path in paths:
        said = zeta.refusal(merged(ZETA, nested((*path, "surplus"), 1)))
        assert "additional properties 'surplus' not allowed" in said, path


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("images", "airflow"), "", "/images/airflow"),
        (("images", "tasks"), "127.0.0.1:5000/zeta-tasks:latest", "/images/tasks"),
        (("images", "mlflow"), "127.0.0.1:5000/mlflow:3@sha256:" + "a" * 64, "/images/mlflow"),
        (("images", "postgresql"), "", "/images/postgresql"),
        (("secrets", "database"), "", "/secrets/database"),
        (("secrets", "airflow"), "Not_A_Name", "/secrets/airflow"),
        (("models", "namespace"), "a" * 64, "/models/namespace"),
        (("models", "registry"), None, "/models/registry"),
        (("models", "registry"), "oci://registry.example", "/models/registry"),
        (("models", "gateway"), "zeta", "/models/gateway"),
        (("models", "domain"), "", "/models/domain"),
        (("models", "prometheus"), "prometheus:9090", "/models/prometheus"),
        (("digest", "to"), "slack://a/b", "/digest/to"),
        (("digest", "schedule"), "daily", "/digest/schedule"),
        (("airflow", "url"), "localhost", "/airflow/url"),
        (("mlflow", "url"), "mlflow:5000", "/mlflow/url"),
        (("airflow", "parallelism"), 0, "/airflow/parallelism"),
        (("airflow", "settings"), {"AIRFLOW__CORE__FERNET_KEY": "x"}, "/airflow/settings"),
        (("airflow", "settings"), {"AIRFLOW__API_AUTH__JWT_SECRET": "x"}, "/airflow/settings"),
        (("airflow", "settings"), {"ZETA_SOURCE_LISTINGS": "x"}, "/airflow/settings"),
        (("airflow", "settings"), {"AIRFLOW__CORE__PARALLELISM": 3}, "/airflow/settings"),
        (("airflow", "scheduler", "limits", "memory"), None, "missing property 'memory'"),
        (("tasks", "scratch"), "much", "/tasks/scratch"),
        (("postgresql", "uid"), 0, "/postgresql/uid"),
        (("storage", "logs", "mode"), "ReadOnlyMany", "/storage/logs/mode"),
    ],
)
def test_helm_zeta_refuses_a_value_that_does_not_fit_by_its_name(zeta, path, value, named):
    assert named in zeta.refusal(nested(path, value))


def test_helm_zeta_says_of_its_defaults_what_is_missing(zeta):
    done = helm("template", "zeta", zeta.folder)
    assert done.returncode
    assert "/images/airflow" in done.stderr
    assert "/models/registry" in done.stderr
