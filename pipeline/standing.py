"""How one model stands: what ``zeta status`` shows of it and the digest ranks."""

from dataclasses import dataclass

from pipeline.trouble import Trouble


@dataclass(frozen=True)
class Standing:
    """How one model stands. What is not known is None; ``fault`` says why nothing is.

    ``verdict`` and what follows are of the newest run that has one, ``judged`` the version that it is about.
    ``evidence`` and ``e_value`` are about the champion: None when that is another version. ``missed``: for when the
    schedule asked for a verdict that there is none of.
    """

    model: str
    owner: str | None = None
    champion: str | None = None
    digest: str | None = None
    score: str | None = None
    now: float | None = None
    deployed: float | None = None
    trend: tuple[float, ...] = ()
    verdict: str | None = None
    reasons: str | None = None
    judged: str | None = None
    judged_at: str | None = None
    evidence: float | None = None
    e_value: float | None = None
    missed: str | None = None
    next_run: str | None = None
    release: str | None = None
    servers: str | None = None
    canary: str | None = None
    address: str | None = None
    paused: str | None = None
    trouble: Trouble | None = None
    fault: str | None = None
