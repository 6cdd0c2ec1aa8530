"""Retired IDs in errors about room."""

from __future__ import annotations


def retired_note(n_retired: int) -> str:
    """Sentence for errors about room: how many retired IDs count."""
    if n_retired == 0:
        return ""
    return (
        f" Retired IDs of items that were removed or moved count too, here {n_retired}."
        " They stay retired; remove(items, reuse=True) retires none."
    )
