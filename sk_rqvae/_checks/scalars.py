"""Validation of single values, without torch or scikit-learn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


def check_int(
    name: str, value: Any, *, minimum: int, maximum: int | None = None
) -> int:
    """An int, not a bool, in [`minimum`, `maximum`]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int. Got {value!r}.")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}. Got {value!r}.")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}. Got {value!r}.")
    return number


def check_real(
    name: str,
    value: Any,
    *,
    low: float,
    high: float = float("inf"),
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite real number from `low` to `high`; bounds are included unless open."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number. Got {value!r}.")
    number = _as_float(value)
    inside = (number > low if low_open else number >= low) and (
        number < high if high_open else number <= high
    )
    if not np.isfinite(number) or not inside:
        left = "(" if low_open else "["
        right = ")" if high_open or np.isinf(high) else "]"
        raise ValueError(
            f"{name} must be in {left}{low}, {high}{right}. Got {value!r}."
        )
    return number


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a large int
        return math.copysign(math.inf, 1 if value > 0 else -1)


def check_bool(name: str, value: Any, *, others: str = "") -> bool:
    """True or False; `others` names further valid values in the error message."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False{others}. Got {value!r}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of `choices`, all strings."""
    options = list(choices)
    # `in` would fail for an array, which compares elementwise.
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {options}. Got {value!r}.")
    return value
