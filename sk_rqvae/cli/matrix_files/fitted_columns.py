"""The columns of a file in the order of the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sk_rqvae.cli.matrix_files.columns import listed
from sk_rqvae.cli.matrix_files.source import Block, NoRowsError, Source
from sk_rqvae.cli.terminal import say

_NAMES_SHOWN = 5


class FittedModel(Protocol):
    """A fitted model, as far as its columns go; it may have `feature_names_in_`."""

    n_features_in_: int


def in_fitted_order(source: Source, model: FittedModel) -> Source:
    """Put the columns in the order of those that a model was fitted on.

    Parameters
    ----------
    source : Source
    model : FittedModel

    Returns
    -------
    Source
        With the same rows. Where the file or the model has no names, columns are taken
        in the order of the file, and a line says so unless neither has names.

    Raises
    ------
    ValueError
        If a column is missing, or the model was not fitted on one. While rows are read,
        if there are more or fewer columns than the model was fitted on.
    """
    ordered = _ordered(source, getattr(model, "feature_names_in_", None))

    def blocks() -> Iterator[Block]:
        for block in ordered.read():
            _check_width(source.path, block.rows.shape[1], model)
            yield block

    return replace(ordered, read=blocks)


def check_without_rows(path: Path, error: NoRowsError, model: FittedModel) -> None:
    """Check what is known of the columns of a file without rows.

    Raises
    ------
    ValueError
        If they are not those that the model was fitted on.
    """
    fitted = getattr(model, "feature_names_in_", None)
    if error.names is not None and fitted is not None:
        _check_same(path, error.names, fitted)
    if error.n_columns is not None:
        _check_width(path, error.n_columns, model)


def _check_width(path: Path, width: int, model: FittedModel) -> None:
    if width != model.n_features_in_:
        raise ValueError(
            f"{path} must have {model.n_features_in_} columns of numbers, as in fit. "
            f"Got {width}."
        )


def _ordered(source: Source, fitted: Sequence[str] | None) -> Source:
    if source.names is None or fitted is None:
        if source.names is not None:
            say(
                f"warning: the model has no column names. Those of {source.path} are "
                "taken in the order of the file."
            )
        elif fitted is not None:
            say(
                f"warning: {source.path} has no column names. Columns are taken in the "
                "order of the file, which must be that of the model."
            )
        return source
    if tuple(fitted) == source.names:
        return source
    _check_same(source.path, source.names, fitted)
    positions = [source.names.index(name) for name in fitted]

    def blocks() -> Iterator[Block]:
        for block in source.read():
            yield block._replace(rows=block.rows[:, positions])

    return replace(source, read=blocks, names=tuple(fitted))


def _check_same(path: Path, names: Sequence[str], fitted: Sequence[str]) -> None:
    missing = [name for name in fitted if name not in set(names)]
    if missing:
        raise ValueError(
            f"{path} has no column {listed(missing, _NAMES_SHOWN)}, which the model "
            "was fitted on."
        )
    other = [name for name in names if name not in set(fitted)]
    if other:
        raise ValueError(
            f"{path} has the column {listed(other, _NAMES_SHOWN)}, which the model "
            "was not fitted on. Name the column of keys with --item-column, or those "
            "with numbers with --columns."
        )
