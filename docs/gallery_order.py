"""The order of the gallery: what to read first comes first."""

from __future__ import annotations

from pathlib import Path

SECTIONS = {
    "first_steps": ("quickstart", "text_pipeline", "displays"),
    "training": ("losses", "grid_search", "categories", "custom_loss"),
    "catalogue": ("unique_ids", "new_items", "month_of_a_catalogue"),
    "recommending": ("behaviour", "constrained_decoding", "classifier"),
}


def section(folder: str) -> int:
    """The position of a folder of examples."""
    return [*SECTIONS].index(Path(folder).name)


def position(filename: str) -> int:
    """The position of an example among all of them."""
    names = [name for section in SECTIONS.values() for name in section]
    return names.index(Path(filename).stem.removeprefix("plot_"))
