"""Where things are: the environment first, then the file ``$ZETA_HOME/env``, then the embedded defaults."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from croniter import croniter
from dotenv import load_dotenv

from pipeline.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Kubernetes:
    """Where releases run when they do not run on this machine."""

    namespace: str
    """ZETA_NAMESPACE: of the models. Default: zeta."""
    registry: str
    """ZETA_REGISTRY: host, port and path below which images lie, such as registry.example:5000/zeta."""
    gateway: str
    """ZETA_GATEWAY: namespace/name of a Gateway that shares requests by weight. Default: none, by replicas then."""
    domain: str
    """ZETA_DOMAIN: models answer at <name>.<domain> on the gateway. Default: models.internal."""
    prometheus: str
    """ZETA_PROMETHEUS: URL of a Prometheus that scrapes the pods, to ask instead of them."""
    pull_secret: str
    """ZETA_PULL_SECRET: name of the Secret with which the cluster pulls images. Default: none."""
    base_image: str
    """ZETA_BASE_IMAGE: what base images start from. Default: Docker Hub's slim image of this Python."""
    base: str | None
    """ZETA_BASE: set inside of a base image, to the tag of that very image."""


@dataclass(frozen=True)
class Settings:
    """The settings of one process."""

    home: Path
    """ZETA_HOME: the one directory that holds all state. Default: .zeta in the checkout."""
    models: Path
    """ZETA_MODELS: the folder of model folders. Default: models in the checkout."""
    mlflow_port: int
    """ZETA_MLFLOW_PORT of the MLflow server that `make up` starts on 127.0.0.1. Default: 5500."""
    airflow_port: int
    """ZETA_AIRFLOW_PORT of the Airflow UI that `make up` starts on 127.0.0.1. Default: 8080."""
    model_port: int
    """ZETA_MODEL_PORT: the first port tried for a model server on 127.0.0.1. Default: 8100."""
    tracking_uri: str
    """MLFLOW_TRACKING_URI. Default: the server above."""
    mlflow_url: str
    """ZETA_MLFLOW_URL: where people open MLflow; pages link to it. Default: the tracking URI."""
    kubernetes: Kubernetes | None
    """ZETA_PLATFORM: kubernetes, or local (default): then releases are processes of this machine."""

    @property
    def airflow_url(self) -> str:
        """Where people look at a DAG run."""
        return f"http://127.0.0.1:{self.airflow_port}"


def load() -> Settings:
    """Read the settings; ConfigError names a value that does not fit."""
    home = Path(os.environ.get("ZETA_HOME", ROOT / ".zeta")).resolve()
    load_dotenv(home / "env", override=False)
    mlflow_port = _port("ZETA_MLFLOW_PORT", 5500)
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mlflow_port}")
    return Settings(
        home=home,
        models=Path(os.environ.get("ZETA_MODELS", ROOT / "models")).resolve(),
        mlflow_port=mlflow_port,
        airflow_port=_port("ZETA_AIRFLOW_PORT", 8080),
        model_port=_port("ZETA_MODEL_PORT", 8100),
        tracking_uri=tracking_uri,
        mlflow_url=os.environ.get("ZETA_MLFLOW_URL", tracking_uri),
        kubernetes=_kubernetes(),
    )


def _kubernetes() -> Kubernetes | None:
    platform = os.environ.get("ZETA_PLATFORM", "local")
    if platform == "local":
        return None
    if platform != "kubernetes":
        raise ConfigError(f"ZETA_PLATFORM={platform!r}: expected local or kubernetes")
    gateway = os.environ.get("ZETA_GATEWAY", "")
    if gateway and not re.fullmatch("[a-z0-9-]+/[a-z0-9-]+", gateway):
        raise ConfigError(f"ZETA_GATEWAY={gateway!r}: expected namespace/name of a Gateway")
    return Kubernetes(
        namespace=os.environ.get("ZETA_NAMESPACE", "zeta"),
        registry=_required("ZETA_REGISTRY", "a registry such as registry.example:5000/zeta"),
        gateway=gateway,
        domain=os.environ.get("ZETA_DOMAIN", "models.internal"),
        prometheus=os.environ.get("ZETA_PROMETHEUS", ""),
        pull_secret=os.environ.get("ZETA_PULL_SECRET", ""),
        base_image=os.environ.get("ZETA_BASE_IMAGE", ""),
        base=os.environ.get("ZETA_BASE"),
    )


def remember(settings: Settings, variable: str, value: str) -> None:
    """Keep a setting in ``$ZETA_HOME/env`` and use it from now on."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "env").open("a", encoding="utf-8") as file:
        file.write(f"{variable}={value}\n")
    os.environ[variable] = value


def source_url(source: str) -> str:
    """Return the SQLAlchemy URL of the database that model.yaml calls ``source``."""
    return _required(f"ZETA_SOURCE_{_upper(source)}", "an SQLAlchemy URL such as sqlite:////data/rows.db")


def alert_url(name: str) -> str:
    """Return the Apprise URL of the destination that model.yaml calls ``name``."""
    return _required(f"ZETA_ALERT_{_upper(name)}", "an Apprise URL such as slack://... or json://host/path")


def digest_destination() -> str:
    """Return the name of the destination that gets the morning digest; ConfigError when it has no URL."""
    name = _required("ZETA_DIGEST", "the NAME of the ZETA_ALERT_<NAME> that is to get the digest")
    alert_url(name)
    return name


def digest_schedule() -> str | None:
    """Return when the digest is sent (cron, UTC), None when there is to be none.

    Apart from load(): a fault of it stops no model.
    """
    if not os.environ.get("ZETA_DIGEST"):
        return None
    schedule = os.environ.get("ZETA_DIGEST_SCHEDULE", "0 9 * * *")
    if len(schedule.split()) != 5 or not croniter.is_valid(schedule):
        raise ConfigError(f'ZETA_DIGEST_SCHEDULE={schedule!r}: expected five cron fields, such as "0 9 * * *"')
    return schedule


def destinations() -> list[str]:
    """Return every alert destination there is, for when model.yaml cannot be read."""
    return sorted(name.removeprefix("ZETA_ALERT_") for name in os.environ if name.startswith("ZETA_ALERT_"))


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _required(variable: str, expected: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"{variable} is not set; expected {expected}; export it or add it to $ZETA_HOME/env")
    return value


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ConfigError(f"{variable}={text!r}: expected a port from 1 to 65535")
    return int(text)
