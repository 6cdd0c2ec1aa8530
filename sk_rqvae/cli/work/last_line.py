"""The line that a command ends with."""

from __future__ import annotations

import math
from pathlib import Path

from sk_rqvae.cli.terminal import say
from sk_rqvae.cli.work.quality import Quality

_ONE_MINUTE = 60


def say_result(doing: str, quality: Quality, seconds: float, path: Path | None) -> None:
    """Say what was made: how much, how good, how fast and where."""
    parts = [f"{doing} {quality.n_rows} rows", f"{quality.n_distinct()} distinct IDs"]
    explained = quality.explained_variance()
    if math.isfinite(explained):
        parts.append(f"explained variance {explained:.3f}")
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
