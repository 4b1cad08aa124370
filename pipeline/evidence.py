"""What the gate looks at: how much better the challenger is than its rivals, on rows that none of them has seen."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.comparison import Difference, Pairs, difference
from pipeline.config import GateRules
from pipeline.evaluation import FEWEST_SLICE_ROWS, Scored
from pipeline.ledger import Look
from pipeline.tally import ALL, Group, Tally

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"
"""The subjects whose rows are scored; the champion is missing at bootstrap."""


@dataclass(frozen=True)
class Evidence:
    """A challenger's case.

    ``loss``: its own, None when the score is not defined on the rows; ``gains``: the loss of each rival minus the
    challenger's, None when it cannot be told, with bounds that err by the look's alpha; ``pairs``: the discordant rows
    a rival, of a score whose rows are right or wrong; ``slices``: gains on the champion with bounds that err by
    1 - confidence over all slices; ``first_loss``: the first deployed version's, frozen; ``rise``: by how much the
    champion's loss is above the one at its deployment; ``itself``: whether the challenger is the champion's model.
    """

    rows: int
    loss: float | None
    look: Look
    gains: dict[str, Difference | None]
    pairs: dict[str, Pairs] = field(default_factory=dict)
    slices: dict[str, Difference] = field(default_factory=dict)
    first_loss: float | None = None
    rise: float | None = None
    itself: bool = False


@dataclass(frozen=True)
class Frozen:
    """Losses at deployment: of the ``first`` version ever deployed, and of the ``champion``; None without one."""

    first: float | None = None
    champion: float | None = None


def gather(
    scored: Scored,
    days: list[int],
    rules: GateRules,
    look: Look,
    frozen: Frozen,
    itself: bool = False,
) -> Evidence:
    """Return the evidence of the scored rows of these days."""
    new, rivals = scored.tallies[CHALLENGER], [one for one in (CHAMPION, BASELINE) if one in scored.tallies]
    now = _loss(scored.tallies[CHAMPION], days) if CHAMPION in rivals else None

    def gain(rival: str, group: Group, confidence: float) -> Difference | None:
        held = scored.tallies[rival].matrix(days, group), new.matrix(days, group)
        return difference(new.score, *held, confidence)

    groups = new.groups() if CHAMPION in rivals else []
    sure = slice_confidence(rules, sum(new.matrix(days, group)[:, 0].sum() >= FEWEST_SLICE_ROWS for group in groups))
    slices = {" = ".join(group): gain(CHAMPION, group, sure) for group in groups}
    return Evidence(
        rows=int(new.matrix(days)[:, 0].sum()),
        loss=_loss(new, days),
        look=look,
        gains={rival: gain(rival, ALL, 1 - look.alpha) for rival in rivals},
        pairs={rival: _pairs(scored, rival, days) for rival in rivals} if new.score.binary else {},
        slices={name: found for name, found in slices.items() if found is not None},
        first_loss=frozen.first,
        rise=None if now is None or frozen.champion is None else now - frozen.champion,
        itself=itself,
    )


def slice_confidence(rules: GateRules, judged: int) -> float:
    """Return the confidence of each slice's bounds when so many are judged (Bonferroni).

    A slice is worse when chance is ruled out, and any one of them refuses the challenger. So what all share is the
    chance that a challenger which is nowhere worse is refused; of what a slice with few rows hides, nothing is said.
    """
    return 1 - (1 - rules.confidence) / max(judged, 1)


def _loss(tally: Tally, days: list[int]) -> float | None:
    loss = float(tally.score.loss(tally.matrix(days).sum(axis=0))) if days else np.nan
    return None if np.isnan(loss) else loss


def _pairs(scored: Scored, rival: str, days: list[int]) -> Pairs:
    gained, lost = scored.pairs[rival].matrix(days, width=2).sum(axis=0)
    return Pairs(int(gained), int(lost))
