"""JSON that every program reads."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any) -> str:
    """JSON of dicts, lists and scalars; a number that is not finite becomes null.

    Examples
    --------
    >>> json_text({"lift": [2.5, float("nan")]})
    '{"lift": [2.5, null]}'
    """
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
