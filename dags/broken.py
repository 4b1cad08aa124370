"""Raises what is wrong with any model.yaml: Airflow shows it as this file's import error, every DAG stays."""

from pipeline import config, settings
from pipeline.errors import ConfigError


def faults() -> str:
    """Return the faults of every model.yaml below the models folder, one a line."""
    lines = []
    for path in config.paths(settings.load().models):
        try:
            config.load(path)
        except ConfigError as error:
            lines.append(str(error))
    return "\n".join(lines)


if text := faults():
    raise ConfigError(text)
