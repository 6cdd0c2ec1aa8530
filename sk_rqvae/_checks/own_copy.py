"""A copy of rows for code that may overwrite them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np


def own_copy(X: Any) -> Any:
    """Copy rows of any kind.

    A tensor loses its graph. What cannot be copied, such as the data set of an open
    file, becomes an array. An iterator has nothing that could be overwritten.
    """
    if isinstance(X, Iterator):
        return X
    if hasattr(X, "detach"):
        return X.detach().clone()
    try:
        return copy.deepcopy(X)
    except TypeError:
        return np.array(X)
