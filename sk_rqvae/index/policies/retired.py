"""Retired IDs in errors about room."""

from __future__ import annotations


def told_of_retired(n_retired: int) -> str:
    """What to say after an error in which so many IDs count that no item has."""
    if n_retired == 0:
        return ""
    return (
        f" Retired IDs of items that were removed or moved count too, here {n_retired}."
        " They stay retired; remove(items, reuse=True) retires none."
    )
