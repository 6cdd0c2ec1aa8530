"""Pictures of lines, light enough to be kept with the pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sk_rqvae.plotting._colors import GREY, PALETTE

_MOST_TICKS = 6
_SIZE = (7.2, 3.1)
# The ground is transparent, and grey reads on a light and on a dark page. A fixed salt
# makes the same picture the same file.
_STYLE = {
    "svg.hashsalt": "pictures",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.columnspacing": 1.2,
    "legend.handlelength": 2.6,
    **dict.fromkeys(
        (
            "axes.edgecolor",
            "axes.titlecolor",
            "axes.labelcolor",
            "grid.color",
            "text.color",
            "xtick.color",
            "ytick.color",
        ),
        GREY,
    ),
}


@dataclass(frozen=True)
class Line:
    """Values, one for each tick of a panel.

    Attributes
    ----------
    name : str
    values : sequence of float
    colour : int
        Which of the palette.
    dashed : bool
    """

    name: str
    values: Sequence[float]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over the same ticks.

    Attributes
    ----------
    title : str
        What the values are.
    axis : str
        What the ticks are.
    ticks : list of str
    lines : list of Line
    """

    title: str
    axis: str
    ticks: list[str]
    lines: list[Line]


def averaged(runs: Sequence[list[Panel]]) -> list[Panel]:
    """The panels of several runs with the means of their values."""
    return [_average(panels) for panels in zip(*runs, strict=True)]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels side by side, with one key, into an SVG file."""
    import matplotlib.pyplot as plt

    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=_SIZE, layout="constrained")
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel)
        handles = {
            name: handle
            for ax in axes
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=len(handles),
        )
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def _average(panels: Sequence[Panel]) -> Panel:
    first, *_ = panels
    lines = zip(*(panel.lines for panel in panels), strict=True)
    return replace(
        first,
        lines=[
            replace(same[0], values=np.mean([line.values for line in same], axis=0))
            for same in lines
        ],
    )


def _draw_panel(ax: Any, panel: Panel) -> None:
    positions = range(len(panel.ticks))
    few = len(panel.ticks) <= _MOST_TICKS
    for line in panel.lines:
        ax.plot(
            positions,
            line.values,
            label=line.name,
            color=PALETTE[line.colour],
            linestyle="--" if line.dashed else "-",
            marker="o" if few else "",
            markersize=4,
        )
    shown = slice(None, None, -(-len(panel.ticks) // _MOST_TICKS))
    ax.set_xticks(positions[shown], panel.ticks[shown])
    ax.set_title(panel.title, loc="left")
    ax.set_xlabel(panel.axis)
    ax.grid(axis="y")
    ax.tick_params(length=0)
