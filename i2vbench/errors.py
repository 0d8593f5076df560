"""The errors that a user can cause.

Every message is one line: what is wrong, which value, what is accepted, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a command, a manifest or a file; the command line prints its text only."""

    exit_code = 2


class MissingWeightsError(UserError):
    """A weight file is neither embedded, cached nor reachable; only what needs it stops."""


class MissingPackageError(UserError):
    """An optional package is not installed; only what needs it stops."""


class SpecMismatchError(UserError):
    """A run directory holds a run of another specification."""


class DamagedRunError(UserError):
    """A file of a run directory is not what this project wrote."""


class FailingModelError(UserError):
    """A model fails alike on all that it was asked first; the command stops, with exit code 1."""

    exit_code = 1


class UnreadableClipError(ValueError):
    """One clip or picture cannot be read; its sample becomes a failed row, the run goes on."""


def did_you_mean(value: str, accepted: Iterable[str]) -> str:
    """The accepted names as the tail of an error message, the nearest one first.

    >>> did_you_mean("fdv", ["fvd", "fid"])
    "did you mean 'fvd'? accepted: fid, fvd"
    """
    names = sorted(accepted)
    nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}accepted: {', '.join(names) or '(none)'}"
