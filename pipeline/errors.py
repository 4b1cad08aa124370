"""Errors, split by what the caller does about them.

ZetaError
├── ConfigError   fix the file                              exit code 2
├── DataError     bad or missing data: no retrain, page     exit code 3
├── Permanent     fail now                                  exit code 1
└── Temporary     try again later (the network, a lock)     exit code 75

A message names the thing, its value, what was expected and what to do next.
An adapter wraps what its vendor raises: ``raise Temporary(...) from error``.
"""


class ZetaError(Exception):
    """Whatever Zeta raises on purpose."""

    exit_code = 1


class ConfigError(ZetaError):
    """A setting or a file that a person has to mend."""

    exit_code = 2


class DataError(ZetaError):
    """Rows that are missing or cannot be trusted."""

    exit_code = 3


class Permanent(ZetaError):
    """Trying again would fail again."""

    exit_code = 1


class Temporary(ZetaError):
    """Trying again later may succeed; a scheduler retries on this exit code (EX_TEMPFAIL) alone."""

    exit_code = 75
