"""Errors and warnings that callers may want to catch."""

from __future__ import annotations

__all__ = ["CollapseWarning", "DivergenceError"]


class CollapseWarning(UserWarning):
    """Codebook collapse: most codes of a level are unused or rare.

    IDs then carry less information than their codebooks allow.
    """


class DivergenceError(ArithmeticError):
    """Training diverged: the loss is infinite or not a number."""
