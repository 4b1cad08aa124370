"""What a Prometheus has scraped from pods. https://prometheus.io/docs/prometheus/latest/querying/api/"""

from collections.abc import Collection

import httpx

from pipeline.errors import Permanent
from pipeline.observation import Observation, counted

_ANSWER_SECONDS = 30.0
_METRICS = "zeta_(model_info|requests_total|request_seconds_(count|bucket)|prediction_groups_total)"


class Prometheus:
    """A Prometheus at ``address``, such as http://prometheus.monitoring:9090, whose series name namespace and pod."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    def observe(self, namespace: str, pods: Collection[str]) -> Observation:
        """Return what pods had counted when they were scraped last.

        Permanent when it does not answer, or does not know all of the pods.
        """
        query = f'{{__name__=~"{_METRICS}",namespace="{namespace}",pod=~"{"|".join(pods)}"}}'
        try:
            reply = httpx.post(f"{self._address}/api/v1/query", data={"query": query}, timeout=_ANSWER_SECONDS)
            series = reply.raise_for_status().json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise Permanent(f"ZETA_PROMETHEUS={self._address} does not answer as a Prometheus does: {error}") from error
        scraped = {one["metric"]["pod"] for one in series}
        if missing := sorted(set(pods) - scraped):
            raise Permanent(f"ZETA_PROMETHEUS={self._address} has scraped nothing of {missing} in {namespace}")
        return counted((one["metric"]["__name__"], one["metric"], float(one["value"][1])) for one in series)
