"""Rectangles in columns, with texts where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sk_rqvae._checks.texts import printable
from sk_rqvae.plotting._colors import background_of, readable_on
from sk_rqvae.plotting._tree_layout import Node

_FONT_SIZE = 9.0
_LINE_HEIGHT = 1.2  # in font sizes, as the next two
_LETTER_WIDTH = 0.5
_INDENT = 0.7
_NAMES_WIDTH = 2.0  # in columns
_POINTS_PER_INCH = 72
_ROW_INCHES = 1.35 * _FONT_SIZE * _LINE_HEIGHT / _POINTS_PER_INCH
_MARGIN_INCHES = 1.8
_MIN_INCHES = 4.0
_MAX_INCHES = 24.0
_COLUMN_INCHES = 2.4


def figure_size(n_columns: int, n_rows: int, *, named: bool) -> tuple[float, float]:
    """Width and height in inches of a figure in which every row has room for text."""
    width = (n_columns + (_NAMES_WIDTH if named else 0)) * _COLUMN_INCHES
    height = n_rows * _ROW_INCHES + _MARGIN_INCHES
    return max(width, 6.0), min(max(height, _MIN_INCHES), _MAX_INCHES)


class Icicle:
    """Axes with one column per level, on which nodes are rectangles.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    n_columns : int
    n_rows : int
    named : bool
        Whether to reserve space for names to the right of the last column.
    """

    def __init__(self, ax: Any, n_columns: int, n_rows: int, *, named: bool) -> None:
        self._ax = ax
        self._background = background_of(ax)
        width = n_columns + (_NAMES_WIDTH if named else 0)
        ax.set(xlim=(0, width), ylim=(n_rows, 0), yticks=[])
        ax.set_xticks(
            [column + 0.5 for column in range(n_columns)],
            [f"level {column}" for column in range(1, n_columns + 1)],
        )
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        extent = ax.get_window_extent()
        font_size = ax.figure.dpi / _POINTS_PER_INCH * _FONT_SIZE
        self._row_height = extent.height / n_rows / font_size
        self._column_width = extent.width / width / font_size

    def add(self, node: Node, color: Any, text: str) -> Any:
        """Draw the rectangle of a node, with a text if it is high enough."""
        from matplotlib.patches import Rectangle

        box: Any = Rectangle(
            (node.depth - 1, node.top),
            1,
            node.n_rows,
            facecolor=color,
            edgecolor=self._background,
            linewidth=1,
        )
        self._ax.add_patch(box)
        color_of_text = readable_on(box.get_facecolor())
        written = self._write(node, node.depth - 1, printable(text), color_of_text)
        if written is not None:
            written.set_clip_path(box)
        return box

    def name(self, node: Node, names: Sequence[str]) -> None:
        """Write as many of the names as fit to the right of a node."""
        room = int(_NAMES_WIDTH * self._column_width / _LETTER_WIDTH)
        text = _joined([printable(name) for name in names], room)
        self._write(node, node.depth, text, readable_on(self._background))

    def _write(self, node: Node, x: float, text: str, color: str) -> Any:
        if node.n_rows * self._row_height < _LINE_HEIGHT:
            return None
        return self._ax.text(
            x + _INDENT / self._column_width,
            node.top + node.n_rows / 2,
            text,
            color=color,
            fontsize=_FONT_SIZE,
            verticalalignment="center",
            # A price such as $5 is not the start of a formula.
            parse_math=False,
        )


def _joined(names: Sequence[str], room: int) -> str:
    """The first names, separated by commas, in at most `room` letters."""
    text = ", ".join(names)
    if len(text) <= room:
        return text
    kept = text[: room - 2].rpartition(", ")[0] or text[: room - 2]
    return f"{kept} …"
