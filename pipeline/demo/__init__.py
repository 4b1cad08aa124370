"""The demo: a real, dated data set, and the mornings that ``make demo`` plays on it."""
