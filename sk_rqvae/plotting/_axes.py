"""Axes to draw on, and texts on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sk_rqvae._checks.texts import printable


def axes_for(
    display: Any, ax: Any, size: tuple[float, float] | None = None
) -> tuple[Any, Any]:
    """Return the axes to draw on, new ones if `ax` is None, and their figure.

    Parameters
    ----------
    display : object
        The display that draws, for the error message.
    ax : matplotlib.axes.Axes or None
    size : tuple of float, default=None
        Width and height of a new figure in inches. None is matplotlib's default.

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


def add_legend(
    owner: Any, handles: Sequence[Any], texts: Sequence[Any], **options: Any
) -> Any:
    """Add a legend to axes or a figure, with texts that are taken literally.

    Matplotlib would typeset ``$x$`` as mathematics, and drop texts that begin with an
    underscore.
    """
    numbers = [str(number) for number in range(len(texts))]
    legend = owner.legend(handles, numbers, **options)
    for written, text in zip(legend.get_texts(), texts, strict=True):
        written.set_parse_math(False)
        written.set_text(printable(text))
    return legend
