"""Find missing and masked values among values of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def check_unmasked(values: Any, name: str, *, instead: str) -> None:
    """Raise TypeError if an array has masked values, which NumPy would use."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise TypeError(
            f"{name} must not have masked values: they would be used as if they were "
            f"valid. Expected an array without, for example {instead}."
        )


def first_missing(values: ArrayLike) -> int | None:
    """Position of the first value that is None, NaN, NaT or ``pandas.NA``.

    Values are compared one by one, as given: an array of the texts "a" and NaN would
    hold the text "nan".

    Examples
    --------
    >>> first_missing(["a", float("nan")]), first_missing([1, 2])
    (1, None)
    """
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuUS":
        return None
    if isinstance(dtype, np.dtype) and dtype.kind == "f":
        is_nan = np.isnan(np.asarray(values)).ravel()
        return int(is_nan.argmax()) if is_nan.any() else None
    each = np.asarray(values, dtype=object).ravel().tolist()
    return next((n for n, value in enumerate(each) if _is_missing(value)), None)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA has no truth value
        return True
    except ValueError:  # neither has an array
        return False
