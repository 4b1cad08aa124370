"""What a server counts, in the words of Prometheus."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from pipeline.observation import SECONDS, group

MOST_LABELS = 100
OTHER = "other"


class Metrics:
    """The counters of one server. Labels are bounded: the paths it knows, the first 100 predicted labels.

    ``in_flight`` returns how many requests the model has before it now.
    """

    def __init__(self, name: str, version: str, digest: str, in_flight: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        model = Gauge("zeta_model_info", "What is served.", ["name", "version", "digest"], registry=registry)
        model.labels(name, version, digest).set(1)
        self._requests = Counter("zeta_requests", "Requests by path and status.", ["path", "code"], registry=registry)
        self._seconds = Histogram(
            "zeta_request_seconds", "Time to answer.", ["path"], buckets=SECONDS, registry=registry
        )
        waiting = Gauge("zeta_requests_in_flight", "Requests before the model now.", registry=registry)
        waiting.set_function(in_flight)
        self._errors = Counter("zeta_model_errors", "Exceptions of the model.", registry=registry)
        self._rows = Counter("zeta_rows", "Rows predicted.", registry=registry)
        self._predictions = Counter("zeta_predictions", "Predictions by label.", ["label"], registry=registry)
        self._groups = Counter("zeta_prediction_groups", "Predictions by group.", ["group"], registry=registry)
        self._labels: set[str] = set()

    def request(self, path: str, code: int, seconds: float) -> None:
        """Count one request and its latency."""
        self._requests.labels(path, str(code)).inc()
        self._seconds.labels(path).observe(seconds)

    def error(self) -> None:
        """Count an exception of the model."""
        self._errors.inc()

    def rows(self, count: int) -> None:
        """Count predicted rows."""
        self._rows.inc(count)

    def predictions(self, labels: Iterable[str]) -> None:
        """Count predicted labels: the first 100 different ones by name, later ones as 'other'; and their groups."""
        for label, count in Tally(labels).items():
            if label not in self._labels and len(self._labels) < MOST_LABELS:
                self._labels.add(label)
            self._predictions.labels(label if label in self._labels else OTHER).inc(count)
            self._groups.labels(str(group(label))).inc(count)

    def numbers(self, answers: Iterable[float]) -> None:
        """Count predicted numbers by group."""
        for answer in answers:
            self._groups.labels(str(group(answer))).inc()

    def text(self) -> bytes:
        """Return the exposition format, version 0.0.4."""
        return generate_latest(self._registry)
