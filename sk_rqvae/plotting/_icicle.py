"""Rectangles in columns, with as much text as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sk_rqvae.plotting._tree_layout import Piece

_FONT_SIZE = 7.0
_LINE_HEIGHT = 1.2  # in font sizes, as the next two
_LETTER_WIDTH = 0.55
_INDENT = 0.7
_NAMES_WIDTH = 2.0  # in columns
_AS_BLACK_AS_WHITE = 0.179  # luminance of equal contrast with either
_POINTS_AN_INCH = 72


class Icicle:
    """Axes with a column for each depth, on which pieces become rectangles.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    n_columns : int
    n_rows : int
    named : bool
        Leave room for names to the right of the last column.
    """

    def __init__(self, ax: Any, n_columns: int, n_rows: int, *, named: bool) -> None:
        self._ax = ax
        width = n_columns + (_NAMES_WIDTH if named else 0)
        ax.set(xlim=(0, width), ylim=(n_rows, 0), yticks=[])
        ax.set_xticks(
            [column + 0.5 for column in range(n_columns)],
            [f"code {column}" for column in range(1, n_columns + 1)],
        )
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        extent = ax.get_window_extent()
        font_size = ax.figure.dpi / _POINTS_AN_INCH * _FONT_SIZE
        self._row_height = extent.height / n_rows / font_size
        self._column_width = extent.width / width / font_size

    def add(self, piece: Piece, colour: Any, text: str) -> Any:
        """Draw the rectangle of a piece, with a text if it fits."""
        from matplotlib.patches import Rectangle

        box: Any = Rectangle(
            (piece.depth - 1, piece.top),
            1,
            piece.n_rows,
            facecolor=colour,
            edgecolor=self._ax.get_facecolor(),
            linewidth=0.5,
        )
        self._ax.add_patch(box)
        on_it = (
            "white" if luminance(box.get_facecolor()) < _AS_BLACK_AS_WHITE else "black"
        )
        written = self._write(piece, piece.depth - 1, text, on_it)
        if written is not None:
            written.set_clip_path(box)
        return box

    def name(self, piece: Piece, names: Sequence[str]) -> None:
        """Write as many of the names as fit, to the right of a piece."""
        room = int(_NAMES_WIDTH * self._column_width / _LETTER_WIDTH)
        self._write(piece, piece.depth, _listed(names, room), None)

    def _write(self, piece: Piece, x: float, text: str, colour: str | None) -> Any:
        if piece.n_rows * self._row_height < _LINE_HEIGHT:
            return None
        return self._ax.text(
            x + _INDENT / self._column_width,
            piece.top + piece.n_rows / 2,
            text,
            color=colour,
            fontsize=_FONT_SIZE,
            verticalalignment="center",
        )


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of red, green and blue in [0, 1], as WCAG 2.1 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in colour[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _listed(names: Sequence[str], room: int) -> str:
    """The first names, separated by commas, in at most `room` letters."""
    text = ", ".join(names)
    if len(text) <= room:
        return text
    kept = text[: room - 2].rpartition(", ")[0] or text[: room - 2]
    return f"{kept} …"
