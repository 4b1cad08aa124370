"""Listings of a marketplace that does not exist: seeded rows for scale, load and decay.

Nothing here is real: brands and models are coined from syllables, and every figure below is of the generator.
A day is made from (seed, day, per_day) alone, with the locked numpy, whatever range it is asked in. A season is
a quarter of the year. Each knob is a constant; its module says in which unit.

| what changes                                                | knobs                                          |
|-------------------------------------------------------------|------------------------------------------------|
| new models and brands that a frozen model has never read    | catalogue: NEW_PRODUCTS, NEW_BRAND, HALF_LIFE  |
| new words for things that have a leaf already               | catalogue: NEW_WORD                            |
| leaves that the frozen model cannot answer (0.2 % a season) | tree: NEW_LEAVES                               |
| how much of a title is a name alone (slices: app is harder) | titles: NOUN_SHOWN                             |
| prices that a frozen model puts too low                     | stream: INFLATION                              |
| violations in phrases that are new                          | titles: RISKY_MOVES; stream: VIOLATION         |
| what no retraining wins back                                | stream: MISFILED                               |

Measured with words and pairs of words by TF-IDF and a linear model, seed 7, trained on the 90 days before
2025-04-01 and scored on two or four weeks from two days on; in brackets retrained at that time:

CALIBRATION
"""

from pipeline.listings.stream import rows
from pipeline.listings.table import write

__all__ = ["rows", "write"]
