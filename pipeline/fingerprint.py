"""The fingerprint of an environment: what must be equal wherever a model runs, so that it answers the same."""

import hashlib
import importlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable

from pipeline.errors import ConfigError

_PACKAGES = ("numpy", "scipy", "scikit-learn", "skops")


def current(components: Iterable[str]) -> dict[str, str]:
    """Return this process's fingerprint: one value a part, such as ``japanese.sys.dic`` or ``numpy``.

    Raises ConfigError for a component that does not exist.
    """
    parts = {
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    for name in sorted(components):
        try:
            component = importlib.import_module(f"pipeline.components.{name}")
            described = component.fingerprint()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"components: {name!r}: {error}; expected pipeline/components/{name}.py with a fingerprint()"
            ) from error
        parts |= {f"{name}.{part}": value for part, value in described.items()}
    return parts


def differences(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return a sentence for each part that differs from the recorded one; none means equal."""
    return [
        f"{part} is {now.get(part, 'absent')}, at training it was {recorded.get(part, 'absent')}"
        for part in sorted(recorded.keys() | now.keys())
        if recorded.get(part) != now.get(part)
    ]


def digest(parts: dict[str, str]) -> str:
    """Return one sha256 for a whole fingerprint."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
