"""What the displays share: axes to draw on, and colours."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

# Of middling luminance, so that each has a contrast of at least 3 with white and with
# black, which WCAG 2.1 (success criterion 1.4.11) asks of graphics.
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


def axes_for(
    display: Any, ax: Any, size: tuple[float, float] | None = None
) -> tuple[Any, Any]:
    """The axes to draw on, new ones if `ax` is None, and their figure.

    Parameters
    ----------
    display : object
        Whose `plot` asks, for the error.
    ax : matplotlib.axes.Axes or None
    size : tuple of float, default=None
        Width and height of a new figure, in inches. None is matplotlib's default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    figure : matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib: "
            "pip install 'sk-rqvae[plot]'."
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax, ax.figure


def colours(count: int) -> list[str]:
    """The first `count` colours, over and over where there are not as many."""
    return list(islice(cycle(PALETTE), count))
