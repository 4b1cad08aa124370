"""A YAML document that remembers on which line each of its values stands."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError

Place = tuple[str | int, ...]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """The plain values of a YAML file (``values``) and their lines.

    ``faults``: places with what is wrong there already for YAML: a key that stands twice (the last one counts), a value
    that cannot be read. Raises ConfigError when the file cannot be read, is not YAML, or is not a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[tuple[Place, str]] = []
        self._lines: dict[Place, int] = {(): 1}
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            node = loader.get_single_node()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a model.yaml") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from error
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path}:1: the file holds no keys; expected 'key: value' lines, first 'name:'")
        try:
            self.values: dict[str, Any] = self._build(loader, node, ())
        except RecursionError as error:
            raise ConfigError(f"{path}: nests too deep; does an alias such as *x stand within its own &x?") from error

    def line(self, where: Place) -> int:
        """Return the line (from 1) of the value at ``where``, or of the nearest thing around it."""
        while where not in self._lines:
            where = where[:-1]
        return self._lines[where]

    def _build(self, loader: Any, node: yaml.Node, where: Place) -> Any:
        self._lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*where, i)) for i, item in enumerate(node.value)]
        try:
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self.faults.append((where, f"{node.value!r}: {getattr(error, 'problem', error)}"))
            return node.value

    def _mapping(self, loader: Any, node: yaml.MappingNode, where: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            place = (*where, key)
            if key in values:
                self.faults.append((place, f"stands twice (first on line {self._lines[place]}); keep one"))
            self._lines[place] = key_node.start_mark.line + 1
            values[key] = self._build(loader, value_node, place)
        return values
