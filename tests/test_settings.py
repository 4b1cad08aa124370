import pytest

from pipeline import settings
from pipeline.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("PLATFORM", "REGISTRY", "NAMESPACE", "GATEWAY", "DOMAIN", "PULL_SECRET", "BASE_IMAGE", "BASE"):
        monkeypatch.delenv(f"ZETA_{name}", raising=False)
    monkeypatch.setenv("ZETA_HOME", str(tmp_path))
    return tmp_path


def test_releases_run_on_this_machine_unless_a_cluster_is_named():
    assert settings.load().kubernetes is None


def test_a_cluster_needs_no_more_than_its_registry(monkeypatch):
    monkeypatch.setenv("ZETA_PLATFORM", "kubernetes")
    monkeypatch.setenv("ZETA_REGISTRY", "registry.example:5000/zeta")
    found = settings.load().kubernetes
    assert (found.namespace, found.registry, found.gateway) == ("zeta", "registry.example:5000/zeta", "")
    assert (found.domain, found.pull_secret, found.base_image, found.base) == ("models.internal", "", "", None)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ZETA_PLATFORM": "nomad"}, "ZETA_PLATFORM='nomad': expected local or kubernetes"),
        ({"ZETA_PLATFORM": "kubernetes"}, "ZETA_REGISTRY is not set; expected a registry such as"),
        (
            {"ZETA_PLATFORM": "kubernetes", "ZETA_REGISTRY": "r:5000", "ZETA_GATEWAY": "gateway"},
            "ZETA_GATEWAY='gateway': expected namespace/name of a Gateway",
        ),
        ({"ZETA_MLFLOW_PORT": "0"}, "ZETA_MLFLOW_PORT='0': expected a port from 1 to 65535"),
    ],
)
def test_what_does_not_fit_is_named_with_its_value_and_what_was_expected(monkeypatch, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        settings.load()
    assert words in str(raised.value)


def test_a_digest_has_a_schedule_only_when_somebody_gets_it(monkeypatch):
    monkeypatch.delenv("ZETA_DIGEST", raising=False)
    monkeypatch.setenv("ZETA_DIGEST_SCHEDULE", "0 7 * * 1-5")
    assert settings.digest_schedule() is None
    monkeypatch.setenv("ZETA_DIGEST", "team")
    assert settings.digest_schedule() == "0 7 * * 1-5"
    monkeypatch.delenv("ZETA_DIGEST_SCHEDULE")
    assert settings.digest_schedule() == "0 9 * * *"


def test_a_setting_that_is_remembered_is_used_by_every_later_process(home, monkeypatch):
    monkeypatch.delenv("ZETA_SOURCE_SHOP", raising=False)
    settings.remember(settings.load(), "ZETA_SOURCE_SHOP", "sqlite:////tmp/shop.db")
    monkeypatch.delenv("ZETA_SOURCE_SHOP")
    settings.load()
    assert settings.source_url("shop") == "sqlite:////tmp/shop.db"
    monkeypatch.delenv("ZETA_SOURCE_SHOP")
