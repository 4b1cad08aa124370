"""Which models of a fleet have degraded for sure: e-BH over the e-values of one morning. Pure.

With N models and a rate q the k models with the highest e-values are discovered, for the largest k whose smallest
e-value is at least N / (k q). Then at most the share q of the discovered models is expected not to have degraded,
whatever the models have to do with one another (Wang & Ramdas, False discovery rate control with e-values, JRSSB 2022,
arXiv 2009.02824). That wants current e-values: with the highest of several mornings it does not hold (Tavyrikov, Goeman
& de Heide, Carefree multiple testing with e-processes, arXiv 2501.19360).
"""

from collections.abc import Mapping


def discoveries(e_values: Mapping[str, float], rate: float) -> set[str]:
    """Return the discovered models, at the false discovery rate ``rate``.

    A model of which nothing is known has the e-value 0: left out, it would lower what is asked of the others.
    """
    ranked = sorted(e_values, key=lambda model: e_values[model], reverse=True)
    enough = [k for k, model in enumerate(ranked, 1) if k * e_values[model] >= len(ranked) / rate]
    return set(ranked[: max(enough, default=0)])
