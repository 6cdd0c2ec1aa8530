"""What can go wrong in a way that callers may want to tell apart."""

from __future__ import annotations

__all__ = ["CollapseWarning", "DivergenceError"]


class CollapseWarning(UserWarning):
    """Codes of a level are hardly used, so IDs carry fewer bits than they could."""


class DivergenceError(ArithmeticError):
    """Training produced a loss that is not a finite number."""
