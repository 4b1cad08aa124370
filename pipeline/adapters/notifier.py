"""Sends alerts to the people who are on call, through Apprise."""

import logging
from collections.abc import Sequence

from pipeline.alert import Alert
from pipeline.errors import ConfigError, Temporary, ZetaError
from pipeline.settings import alert_url
from pipeline.trouble import Kind

_log = logging.getLogger(__name__)


def send(alert: Alert, destinations: Sequence[str]) -> None:
    """Send ``alert`` to every destination; with none, log it as an error.

    Each destination is tried, whatever the others do. Then one error names those that failed and why:
    Temporary when a delivery failed, ConfigError when nothing but settings are wrong.
    """
    if not destinations:
        _log.error("no destination in 'alerts', nobody was told: %s\n%s", alert.title, alert.text)
    faults = [(name, fault) for name in destinations if (fault := _fault(alert, name))]
    if faults:
        kind = Temporary if any(isinstance(fault, Temporary) for _, fault in faults) else ConfigError
        said = "; ".join(f"{name}: {fault}" for name, fault in faults)
        raise kind(f"{alert.title!r} did not reach {len(faults)} of {len(destinations)} destinations: {said}")


def _fault(alert: Alert, destination: str) -> ZetaError | None:
    try:
        _deliver(alert, destination)
    except (ConfigError, Temporary) as error:
        return error
    return None


def _deliver(alert: Alert, destination: str) -> None:
    """Send to one destination. What Apprise logs is its only word on why it failed; it hides secrets."""
    from apprise import Apprise, LogCapture, NotifyFormat, NotifyType

    url = alert_url(destination)
    kinds = {
        Kind.OVER: NotifyType.SUCCESS,
        Kind.PROMOTED: NotifyType.INFO,
        Kind.DIGEST: NotifyType.INFO,
        Kind.WARNING: NotifyType.WARNING,
    }
    with LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
        apprise = Apprise()
        if not apprise.add(url):
            raise ConfigError(f"its URL does not fit ({_flat(said.getvalue())}); expected an Apprise URL")
        if not apprise.notify(
            alert.text,
            alert.title,
            notify_type=kinds.get(alert.kind, NotifyType.FAILURE),
            body_format=NotifyFormat.TEXT,
        ):
            raise Temporary(f"not delivered ({_flat(said.getvalue())}); is its address right and up?")


def _flat(text: str) -> str:
    return " ".join(text.split()) or "no reason given"
