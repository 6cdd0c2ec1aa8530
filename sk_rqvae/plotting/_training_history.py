"""How the losses fell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.plotting._axes_and_colors import GREY, axes_for, colours

FloatArray = NDArray[np.float64]

_SIZE = (8.0, 4.5)
_PREFIX = "train_"
_TOTAL = "loss"
_HELD_OUT = "valid_loss"
_COMPARABLE = "reconstruction"


class TrainingHistoryDisplay:
    """Losses by epoch: their sum, its parts, and the held-out reconstruction.

    Make it with `from_estimator` or `from_history`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
        Numbers of the epochs.
    losses : dict of str to ndarray of shape (n_epochs,)
        The mean over the training rows of the whole loss, under ``"loss"``, and of its
        weighted parts, which add up to it.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Mean reconstruction loss of the rows held out by ``early_stopping=True``, NaN in
        epochs that held out none. None if no epoch did.

    Attributes
    ----------
    lines_ : dict of str to matplotlib.lines.Line2D
        A line for each loss, and ``"valid_loss"`` if there is one.
    best_ : matplotlib.lines.Line2D or None
        The mark on the lowest held-out loss, whose weights early stopping restores.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.plotting import TrainingHistoryDisplay
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=3, random_state=0)
    >>> display = TrainingHistoryDisplay.from_estimator(rq.fit(X))
    >>> list(display.lines_)
    ['loss', 'reconstruction', 'codebook', 'commitment', 'prefix']
    """

    def __init__(
        self,
        *,
        epochs: NDArray[np.int64],
        losses: dict[str, FloatArray],
        valid_loss: FloatArray | None = None,
    ) -> None:
        self.epochs = epochs
        self.losses = losses
        self.valid_loss = valid_loss

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None
    ) -> TrainingHistoryDisplay:
        """Draw the history of a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that has one in it.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingHistoryDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ValueError
            If its history is empty, as after `load_from_checkpoint`.
        ImportError
            If matplotlib is not installed.
        """
        quantizer = path_to_quantizer(estimator).quantizer
        return cls.from_history(quantizer.net_.history, ax=ax)

    @classmethod
    def from_history(
        cls, history: Sequence[Mapping[str, Any]], *, ax: Any = None
    ) -> TrainingHistoryDisplay:
        """Draw a history that is there already.

        Parameters
        ----------
        history : sequence of mapping
            A row an epoch, as in ``net_.history``: ``"epoch"``, ``"train_loss"``, its
            parts as ``"train_<part>"`` and, where rows are held out, ``"valid_loss"``.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingHistoryDisplay

        Raises
        ------
        ValueError
            If there is no epoch, or one without a number or ``"train_loss"``.
        ImportError
            If matplotlib is not installed.
        """
        rows = list(history)
        if not rows:
            raise ValueError("history must have at least one epoch. Got none.")
        for row in rows:
            for key in ("epoch", "train_loss"):
                if key not in row:
                    raise ValueError(
                        f"Every row of history must have {key!r}. Got {sorted(row)}."
                    )
        names = dict.fromkeys(key for row in rows for key in row if _is_loss(row, key))
        held_out = any(_HELD_OUT in row for row in rows)
        return cls(
            epochs=np.array([row["epoch"] for row in rows]),
            losses={key.removeprefix(_PREFIX): _column(rows, key) for key in names},
            valid_loss=_column(rows, _HELD_OUT) if held_out else None,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> TrainingHistoryDisplay:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingHistoryDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Notes
        -----
        The scale of the losses is logarithmic, unless one of them is not positive.
        """
        ax, figure = axes_for(self, ax, _SIZE)
        parts = [name for name in self.losses if name != _TOTAL]
        colour = dict(zip(parts, colours(len(parts)), strict=True))
        colour[_TOTAL] = GREY
        self.lines_: dict[str, Any] = {}
        for name, loss in self.losses.items():
            (self.lines_[name],) = ax.plot(
                self.epochs,
                loss,
                color=colour[name],
                linewidth=3 if name == _TOTAL else 1.5,
                label="loss, the sum" if name == _TOTAL else name,
            )
        self.best_ = None
        if self.valid_loss is not None:
            self._plot_held_out(ax, self.valid_loss, colour.get(_COMPARABLE, GREY))
        drawn = [line.get_ydata() for line in self.lines_.values()]
        if all((losses[np.isfinite(losses)] > 0).all() for losses in drawn):
            _scale_by_logarithm(ax)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="epoch", ylabel="mean loss of a row")
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
        self.ax_, self.figure_ = ax, figure
        return self

    def _plot_held_out(self, ax: Any, valid_loss: FloatArray, colour: str) -> None:
        (self.lines_[_HELD_OUT],) = ax.plot(
            self.epochs,
            valid_loss,
            color=colour,
            linestyle="--",
            label="reconstruction, held out",
        )
        best = np.nanargmin(valid_loss)
        (self.best_,) = ax.plot(
            self.epochs[best],
            valid_loss[best],
            color=colour,
            marker="o",
            linestyle="none",
            label=f"lowest held out, epoch {self.epochs[best]}",
        )


def _scale_by_logarithm(ax: Any) -> None:
    """A logarithmic scale with few and plain numbers: 0.5, 1, 2, 5."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _is_loss(row: Mapping[str, Any], key: str) -> bool:
    # skorch keeps flags beside the losses, such as train_loss_best.
    value = row[key]
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return key.startswith(_PREFIX) and is_number


def _column(rows: list[Mapping[str, Any]], key: str) -> FloatArray:
    return np.array([row.get(key, np.nan) for row in rows], dtype=np.float64)
