"""What servers of one role have counted: requests, errors, latency, predictions; read from their /metrics."""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The bounds of the latency histogram."""
SIDE = 16
GROUPS = SIDE**2
"""Predictions are compared by group: any difference between groups is one between predictions. Those of a group are in
row ``group // SIDE`` and column ``group % SIDE`` of a square: two labels that share the one hardly share the other."""


def group(answer: str | float) -> int:
    """Return the group of an answer, the same in every process: labels by hash, numbers by size in steps of 19 %."""
    if not isinstance(answer, str):
        answer = str(round(4 * math.copysign(math.log2(1 + abs(answer)), answer)))
    return zlib.crc32(answer.encode()) % GROUPS


def grouped(answers: Iterable[Any]) -> np.ndarray:
    """Return (GROUPS,) counts of answers as a server gives them; each label of a list counts."""
    flat = (label for answer in answers for label in (answer if isinstance(answer, list) else [answer]))
    return np.bincount([group(answer) for answer in flat], minlength=GROUPS)


@dataclass(frozen=True)
class Observation:
    """Counts of requests for predictions: all, those answered 5xx, those slower than each of SECONDS; and of
    predictions by group, (GROUPS,)."""

    requests: int = 0
    errors: int = 0
    slower: np.ndarray = field(default_factory=lambda: np.zeros(len(SECONDS), int))
    groups: np.ndarray = field(default_factory=lambda: np.zeros(GROUPS, int))

    def __add__(self, other: "Observation") -> "Observation":
        return Observation(
            self.requests + other.requests,
            self.errors + other.errors,
            self.slower + other.slower,
            self.groups + other.groups,
        )

    def since(self, earlier: "Observation") -> "Observation":
        """Return what was counted after an earlier look: all of it by a server that was started anew since."""
        if self.requests < earlier.requests:
            return self
        return Observation(
            self.requests - earlier.requests,
            self.errors - earlier.errors,
            self.slower - earlier.slower,
            self.groups - earlier.groups,
        )


def read(text: str) -> Observation:
    """Read the page /metrics of one server."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return counted((sample.name, sample.labels, sample.value) for sample in samples)


def counted(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Observation:
    """Add samples up: name, labels and value of each."""
    requests = errors = 0
    slower, groups = np.zeros(len(SECONDS), int), np.zeros(GROUPS, int)
    for name, labels, number in samples:
        path, value = labels.get("path", ""), int(number)
        asked = path == "/invocations" or path.endswith("/infer")
        if name == "zeta_requests_total" and asked:
            requests += value
            errors += value * labels["code"].startswith("5")
        elif name == "zeta_request_seconds_count" and asked:
            slower += value
        elif name == "zeta_request_seconds_bucket" and asked and labels["le"] != "+Inf":
            slower[SECONDS.index(float(labels["le"]))] -= value
        elif name == "zeta_prediction_groups_total":
            groups[int(labels["group"])] += value
    return Observation(requests, errors, slower, groups)
