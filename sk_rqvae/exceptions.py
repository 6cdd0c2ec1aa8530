"""Errors and warnings that callers may want to catch."""

from __future__ import annotations

__all__ = ["CollapseWarning", "DivergenceError", "IndexConflictError"]


class CollapseWarning(UserWarning):
    """Codebook collapse: most codes of a level are unused or rare.

    IDs then carry less information than their codebooks allow.
    """


class DivergenceError(ArithmeticError):
    """Training diverged: the loss is infinite or not a number."""


class IndexConflictError(ValueError):
    """The file of an index was changed since the index was loaded or saved.

    Saving the index would undo what somebody else did. Load it and make the changes
    again, or save it with ``on_conflict="merge"``.
    """
