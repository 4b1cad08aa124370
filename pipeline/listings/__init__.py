"""Listings of a marketplace that does not exist: seeded rows for scale, load and decay.

Nothing here is real: brands and models are coined from syllables, and every figure below is of the generator.
A day is made from (seed, day, per_day) alone, with the locked numpy, whatever range it is asked in; a season is a
quarter of the year. Each knob is a constant, documented in its module.

=========================================================  =============================================
what decays                                                knobs
=========================================================  =============================================
models and brands that a frozen model has never read       catalogue: NEW_PRODUCTS, NEW_BRAND, HALF_LIFE
new words for what has a leaf already                      catalogue: NEW_WORD
leaves that a frozen model cannot answer                   tree: NEW_LEAVES
how often a name is all a title tells (app more than web)  titles: NOUN_SHOWN
prices, which a frozen model puts too low                  stream: INFLATION
phrases of violations, which move on                       titles: RISKY_PHRASES, RISKY_MOVES
nothing: what no retraining wins back                      stream: MISFILED
=========================================================  =============================================

Measured on titles alone with japanese.words_and_pairs, TF-IDF and linear models; seed 7; trained on the 90 days
before 2025-04-01; scored from two days on; in brackets retrained on the 90 days before that moment:

===============================================  =======  =============  =============  =============
score                                            at home  after 91 days  after 182      after 365
===============================================  =======  =============  =============  =============
accuracy, 1,327 leaves, 600 a day                0.820    0.730 (0.827)  0.676 (0.833)
accuracy, 120 leaves, 1,000 a day of all leaves  0.854    0.734 (0.827)  0.695 (0.871)  0.564 (0.859)
accuracy, 156 branches, 300 a day                0.904    0.865 (0.903)  0.836 (0.903)  0.818 (0.906)
accuracy, 156 branches, 2,000 a day              0.973    0.943 (0.975)  0.923 (0.977)  0.895 (0.975)
micro-F1 of tags, 600 a day                      0.670    0.631 (0.667)  0.597 (0.677)  0.556 (0.669)
mean absolute error of log price, 600 a day      0.431    0.489 (0.441)  0.510 (0.429)  0.559 (0.439)
average precision of violation, 600 a day        0.306    0.318 (0.434)  0.282 (0.466)  0.012 (0.363)
===============================================  =======  =============  =============  =============

The most frequent leaf or branch has 1 % to 2 %, 8 % among the 120 leaves (of games, hobbies and instruments).
"""

from pipeline.listings.stream import rows
from pipeline.listings.table import write

__all__ = ["rows", "write"]
