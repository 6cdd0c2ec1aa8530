"""Plot how the losses changed during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.plotting._axes import add_legend, axes_for
from sk_rqvae.plotting._colors import GREY, colors

FloatArray = NDArray[np.float64]

_SIZE = (9.0, 4.5)
_PREFIX = "train_"
_TOTAL = "loss"
_HELD_OUT = "valid_loss"
_COMPARABLE = "reconstruction"


class TrainingHistoryDisplay:
    """Losses by epoch, relative to the first epoch.

    Each line is one term of the loss, divided by its value in the first epoch, so that
    all changes are visible on one axis. The legend has the absolute values. The
    reconstruction loss is the thick line. The dashed line is the reconstruction loss of
    held-out rows, divided by the same number: where it rises and the thick line falls,
    the model overfits.

    Create it with `from_estimator` or `from_history`.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
        Numbers of the epochs.
    losses : dict of str to ndarray of shape (n_epochs,)
        Mean loss of the training rows: the total under ``"loss"``, and its weighted
        terms, which add up to the total.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Mean reconstruction loss of the rows held out by ``early_stopping=True``. NaN
        for epochs without held-out rows, and None if no epoch has them.

    Attributes
    ----------
    lines_ : dict of str to matplotlib.lines.Line2D
        The line of each loss, and ``"valid_loss"`` if there is one.
    best_ : matplotlib.lines.Line2D or None
        The marker at the lowest held-out loss. Early stopping restores the weights of
        this epoch, unless it belongs to an earlier fit than the last.
    is_relative_ : bool
        Whether losses are relative to the first epoch. They are absolute if a loss is
        not positive.
    ax_ : matplotlib.axes.Axes
        The axes.
    figure_ : matplotlib.figure.Figure
        The figure of the axes.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.plotting import TrainingHistoryDisplay
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=3, random_state=0)
    >>> display = TrainingHistoryDisplay.from_estimator(rq.fit(X))
    >>> list(display.lines_)
    ['loss', 'reconstruction', 'codebook', 'commitment']
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
        """Plot the history of a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that contains one.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        TrainingHistoryDisplay
            The display.

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
        """Plot a given history.

        Parameters
        ----------
        history : sequence of mapping
            One row per epoch, as in ``net_.history``, with the keys ``"epoch"``,
            ``"train_loss"``, ``"train_<term>"`` for each term of the loss and, if rows
            are held out, ``"valid_loss"``. Rows without ``"train_loss"``, of epochs
            that a callback cut short, are left out.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        TrainingHistoryDisplay
            The display.

        Raises
        ------
        ValueError
            If no row has ``"train_loss"``, or one has it and no ``"epoch"``.
        ImportError
            If matplotlib is not installed.
        """
        rows = [row for row in history if "train_loss" in row]
        if not rows:
            raise ValueError(
                "history must have at least one row with 'train_loss'. Got none."
            )
        for row in rows:
            if "epoch" not in row:
                raise ValueError(
                    f"Every row of history must have 'epoch'. Got {sorted(row)}."
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
            Axes to draw on. None creates a figure.

        Returns
        -------
        TrainingHistoryDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax, figure = axes_for(self, ax, _SIZE)
        series = dict(self.losses)
        if self.valid_loss is not None and np.isfinite(self.valid_loss).any():
            series[_HELD_OUT] = self.valid_loss
        self.is_relative_ = all(_is_positive(values) for values in series.values())
        units = {name: self._unit(name, values) for name, values in series.items()}
        styles = self._styles()
        self.lines_: dict[str, Any] = {}
        for name, values in series.items():
            style = styles[name]
            (self.lines_[name],) = ax.plot(self.epochs, values / units[name], **style)
        self.best_ = self._mark_best(ax, units) if _HELD_OUT in series else None
        _mark_whole_numbers(ax.xaxis)
        if self.is_relative_:
            ax.axhline(1, color=GREY, linewidth=0.8, zorder=1)
            ax.yaxis.set_major_formatter(_percent())
        first = self.epochs[0]
        ax.set(
            xlabel="epoch",
            ylabel=f"loss relative to epoch {first}" if self.is_relative_ else "loss",
        )
        # The entries are in the order of the right ends of the lines.
        names = sorted(series, key=lambda name: -_last(series[name]) / units[name])
        handles = [self.lines_[name] for name in names]
        texts = [_legend_text(name, series[name]) for name in names]
        if self.best_ is not None:
            handles.append(self.best_)
            texts.append(f"lowest held-out loss, epoch {self.best_.get_xdata()[0]}")
        add_legend(ax, handles, texts, loc="upper left", bbox_to_anchor=(1, 1))
        self.ax_, self.figure_ = ax, figure
        return self

    def _unit(self, name: str, values: FloatArray) -> float:
        """The number that a loss is divided by."""
        if not self.is_relative_:
            return 1.0
        if name == _HELD_OUT:
            values = self.losses.get(_COMPARABLE, values)
        return float(values[np.isfinite(values)][0])

    def _styles(self) -> dict[str, dict[str, Any]]:
        terms = [name for name in self.losses if name != _TOTAL]
        # Alternating widths keep lines visible that coincide, as those of the codebook
        # loss and the commitment loss may.
        styles: dict[str, dict[str, Any]] = {
            name: {"color": color, "linewidth": 2.6 if number % 2 else 1.2}
            for number, (name, color) in enumerate(
                zip(terms, colors(len(terms)), strict=True)
            )
        }
        if _COMPARABLE in styles:
            styles[_COMPARABLE]["linewidth"] = 3.5
        styles[_TOTAL] = {"color": GREY, "linewidth": 1.3}
        comparable = styles.get(_COMPARABLE, styles[_TOTAL])
        styles[_HELD_OUT] = comparable | {"linewidth": 2, "linestyle": "--"}
        return styles

    def _mark_best(self, ax: Any, units: dict[str, float]) -> Any:
        assert self.valid_loss is not None
        best = np.nanargmin(self.valid_loss)
        (marker,) = ax.plot(
            self.epochs[best],
            self.valid_loss[best] / units[_HELD_OUT],
            color=self.lines_[_HELD_OUT].get_color(),
            marker="o",
            markersize=8,
            linestyle="none",
            clip_on=False,
        )
        return marker


def _legend_text(name: str, values: FloatArray) -> str:
    known = values[np.isfinite(values)]
    title = {_TOTAL: "total loss", _HELD_OUT: "reconstruction, held out"}
    if not known.size:
        return title.get(name, name)
    return f"{title.get(name, name)}: {known[0]:.3g} → {known[-1]:.3g}"


def _is_positive(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    return bool(known.size and (known > 0).all())


def _last(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else -np.inf


def _mark_whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    # Axes of the caller may have another scale, such as a logarithmic one. Its marks
    # are not between whole numbers.
    locator = axis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1, decimals=0)


def _is_loss(row: Mapping[str, Any], key: str) -> bool:
    # skorch stores flags beside the losses, such as train_loss_best.
    value = row[key]
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return key.startswith(_PREFIX) and is_number


def _column(rows: list[Mapping[str, Any]], key: str) -> FloatArray:
    return np.array([row.get(key, np.nan) for row in rows], dtype=np.float64)
