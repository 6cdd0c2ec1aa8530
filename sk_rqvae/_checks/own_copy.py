"""A copy of rows for code that may overwrite them."""

from __future__ import annotations

import copy
from typing import Any


def own_copy(X: Any) -> Any:
    """Copy rows of any kind. A tensor loses its graph; torch is not imported for it."""
    return X.detach().clone() if hasattr(X, "detach") else copy.deepcopy(X)
