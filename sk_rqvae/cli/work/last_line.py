"""The line that a command ends with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from sk_rqvae.cli.terminal import say

_ONE_MINUTE = 60


class Measures(NamedTuple):
    """What is said of the IDs of some rows.

    Attributes
    ----------
    n_rows : int
    n_distinct : int
        Different IDs.
    explained_variance : float
        At most 1; NaN if unknown.
    """

    n_rows: int
    n_distinct: int
    explained_variance: float


def say_result(
    doing: str, measures: Measures, seconds: float, path: Path | None
) -> None:
    """Say what was made: how much, how good, how fast and where."""
    parts = [f"{doing} {measures.n_rows} rows", f"{measures.n_distinct} distinct IDs"]
    if math.isfinite(measures.explained_variance):
        parts.append(f"explained variance {measures.explained_variance:.3f}")
    parts.append(duration(seconds))
    if path is not None:
        parts.append(f"written to {path}")
    say(", ".join(parts))


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds.

    Examples
    --------
    >>> duration(1.234), duration(75)
    ('1.2 s', '1 min 15 s')
    """
    if seconds < _ONE_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _ONE_MINUTE)
    return f"{minutes} min {rest} s"
