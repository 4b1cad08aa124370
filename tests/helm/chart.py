"""A chart as a function from values to manifests, run by the real Helm."""

import copy
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


class Manifests(list):
    """What a chart renders."""

    def of(self, kind):
        return [one for one in self if one["kind"] == kind]

    def one(self, kind, name):
        found = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name}: {[one['metadata']['name'] for one in self.of(kind)]}"
        return found[0]

    def names(self, kind):
        return {one["metadata"]["name"] for one in self.of(kind)}

    def pods(self):
        """Return each pod there can be, by what makes it: its metadata and its spec."""
        found = {}
        for one in self:
            name = one["metadata"]["name"]
            if one["kind"] == "Pod":
                found[name] = one
            elif "template" in one.get("spec", {}):
                found[name] = one["spec"]["template"]
            elif one["kind"] == "ConfigMap" and "task.yaml" in one["data"]:
                found[name] = yaml.safe_load(one["data"]["task.yaml"])
        return found

    def containers(self):
        """Return every container, init containers too, as (pod, container)."""
        return [
            (name, container)
            for name, pod in self.pods().items()
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        ]


@dataclass(frozen=True)
class Chart:
    """A chart and the least values it takes. ``changes`` are laid over these; None takes out a key, or a default."""

    name: str
    release: str
    namespace: str
    folder: Path

    @property
    def least(self):
        return Path(__file__).with_name(f"{self.name}.yaml")

    def keys(self, changes):
        """Yield the path of each object within its values, the outermost first."""
        values = [yaml.safe_load(file.read_text()) for file in (self.folder / "values.yaml", self.least)]
        return _objects(merged(merged(*values), changes))

    def render(self, changes=None, release=None):
        done = self._template(changes, release)
        assert done.returncode == 0, done.stderr
        return Manifests(one for one in yaml.safe_load_all(done.stdout) if one)

    def refusal(self, changes=None, release=None):
        """Return what Helm says of values that the chart does not take; fail when it takes them."""
        done = self._template(changes, release)
        assert done.returncode, "the chart takes it"
        return done.stderr

    def _template(self, changes, release):
        values = merged(yaml.safe_load(self.least.read_text()), changes or {})
        command = ["template", release or self.release, self.folder, "-n", self.namespace, "-f", "-"]
        return helm(*command, input=json.dumps(values))


def helm(*arguments, **options):
    """Run Helm: the program $HELM, or helm on the PATH, or what `make lint` has installed."""
    program = os.environ.get("HELM") or shutil.which("helm") or REPOSITORY / ".zeta/envs/helm/helm"
    if not Path(program).exists():
        pytest.skip("there is no helm on the PATH, HELM names none, and `make lint` has installed none")
    command = [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def merged(values, changes):
    """Return ``values`` with ``changes`` laid over them, deep."""
    result = copy.deepcopy(values)
    for key, change in changes.items():
        if change is None and key in result:
            del result[key]
        elif isinstance(change, dict):
            result[key] = merged(result.get(key) or {}, change)
        else:
            result[key] = change
    return result


def nested(path, value):
    """Return the change that sets the value at a path."""
    return nested(path[:-1], {path[-1]: value}) if path else value


def selects(selector, labels):
    """Whether a plain selector, or one with matchLabels and matchExpressions, picks what has these labels."""
    plain = selector.get("matchLabels", {}) if selector.keys() & {"matchLabels", "matchExpressions"} else selector
    expressions = selector.get("matchExpressions", []) if plain is not selector else []
    operators: dict[str, Any] = {
        "Exists": lambda one: one["key"] in labels,
        "In": lambda one: labels.get(one["key"]) in one["values"],
    }
    return plain.items() <= labels.items() and all(operators[one["operator"]](one) for one in expressions)


def differences(one, other, path=""):
    """Return the paths at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return {found for key in keys for found in differences(one.get(key), other.get(key), f"{path}/{key}")}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return {found for at, pair in pairs for found in differences(*pair, f"{path}/{at}")}
    return set() if one == other else {path}


def _objects(values, path=()):
    yield path
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _objects(value, (*path, key))
