"""Colours that are readable on light and on dark backgrounds."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

Color = tuple[float, ...]

# Of medium luminance, so that each has a contrast of at least 3 with white and with
# black, which WCAG 2.1 (success criterion 1.4.11) requires of graphics.
PALETTE = (
    "#1f77b4",
    "#d95f02",
    "#2a9134",
    "#d62739",
    "#8e62c4",
    "#a0672e",
    "#d0489e",
    "#1490a8",
    "#857f12",
    "#5b74e8",
)
GREY = "#808080"
# Share of the colour in a fill behind text. The rest is the background.
_TINT_ON_LIGHT = 0.35
_TINT_ON_DARK = 0.55
# Luminance that has the same contrast with black and with white.
_MIDDLE_LUMINANCE = 0.179


def colors(count: int) -> list[str]:
    """Return `count` colours of the palette, which is repeated if it is too short."""
    return list(islice(cycle(PALETTE), count))


def luminance(color: Color) -> float:
    """Relative luminance of red, green and blue in [0, 1], as WCAG 2.1 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in color[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def readable_on(color: Color) -> str:
    """Return black or white, whichever has the higher contrast with `color`.

    Its contrast is at least 4.5, which WCAG 2.1 (success criterion 1.4.3) requires of
    text.
    """
    return "white" if luminance(color) < _MIDDLE_LUMINANCE else "black"


def background_of(ax: Any) -> Color:
    """Return the colour behind the axes as red, green and blue.

    Where axes and figure are transparent, it is assumed to be black if texts are light,
    and else white.
    """
    from matplotlib import rcParams
    from matplotlib.colors import to_rgb, to_rgba

    for patch in (ax, ax.figure):
        *color, alpha = to_rgba(patch.get_facecolor())
        if alpha > 0:
            return tuple(color)
    is_dark = luminance(to_rgb(rcParams["text.color"])) > _MIDDLE_LUMINANCE
    return (0.0, 0.0, 0.0) if is_dark else (1.0, 1.0, 1.0)


def tint(color: Any, background: Color) -> Color:
    """Blend a colour with the background, so that text on it is easy to read."""
    from matplotlib.colors import to_rgb

    is_dark = luminance(background) < _MIDDLE_LUMINANCE
    share = _TINT_ON_DARK if is_dark else _TINT_ON_LIGHT
    pairs = zip(to_rgb(color), background, strict=True)
    return tuple(share * front + (1 - share) * back for front, back in pairs)
