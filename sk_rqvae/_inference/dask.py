"""Dask collections: lazy transforms, and rows gathered to train on."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils.validation import validate_data

_FEWEST_PIECES = 8
_PIECES_AT_ONCE = 4
_BYTES_A_FLOAT = 4

logger = logging.getLogger("sk_rqvae")


def is_dask(X: Any) -> bool:
    """Whether `X` is a Dask collection; does not import Dask."""
    return hasattr(X, "__dask_graph__")


def lazy_transform(estimator: Any, X: Any) -> Any:
    """Codes of a Dask array or Dask DataFrame, still to be computed.

    Parameters
    ----------
    estimator : RQVAETransformer
        Fitted. What is computed is what it is now, whatever happens to it later.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features)

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame of shape (n, n_layers), int64
        With the rows of `X` in its chunks; a DataFrame has the index of `X`.
    """
    _check_output(estimator)
    _check_columns(estimator, X, reset=False)
    names = estimator.get_feature_names_out()
    return _by_chunks(estimator, X, "transform", names, np.dtype(np.int64))


def lazy_inverse_transform(estimator: Any, X: Any) -> Any:
    """Reconstruction of a Dask array or Dask DataFrame of codes, still to be computed.

    Parameters
    ----------
    estimator : RQVAETransformer
        Fitted. What is computed is what it is now, whatever happens to it later.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, k), k <= n_layers

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features), float64
    """
    _check_kind(X)
    estimator.inverse_transform(np.empty((0, X.shape[1]), dtype=np.int64))
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = np.array([f"x{place}" for place in range(estimator.n_features_in_)])
    return _by_chunks(estimator, X, "inverse_transform", names, np.dtype(np.float64))


def gather(estimator: Any, X: Any, *, most_bytes: int, seed: int) -> Any:
    """Rows to train on, brought into memory a few blocks at a time.

    Where all of them would be too many, this says so in the log and takes blocks drawn
    at random; large blocks are divided first, so that there are enough to draw from.

    Parameters
    ----------
    estimator : RQVAETransformer
        Whose name the errors have.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features)
    most_bytes : int
        Largest matrix to bring, in bytes of float32; at least one piece is brought.
    seed : int
        Decides which blocks.

    Returns
    -------
    ndarray or pandas.DataFrame of shape (m, n_features), m <= n
        Of the type that `X` is made of, rows in their order.
    """
    from dask.base import compute

    _check_kind(X)
    meta = None
    if not _is_array(X):
        meta = _meta(X)
        X = X.to_dask_array(lengths=True)
    elif np.isnan(X.chunks[0]).any():
        X = copy.copy(X).compute_chunk_sizes()
    n_rows, n_features = X.shape
    most_rows = max(1, most_bytes // (_BYTES_A_FLOAT * max(1, n_features)))
    pieces = _pieces(X.chunks[0], max(1, most_rows // _FEWEST_PIECES))
    if n_rows > most_rows:
        pieces = _draw(pieces, most_rows, seed)
        n_drawn = int(np.diff(pieces, axis=1).sum())
        logger.warning(
            "%s trains on %d of the %d rows of a Dask collection, in blocks drawn at "
            "random: all of them would take more memory than resident_mb allows.",
            type(estimator).__name__,
            n_drawn,
            n_rows,
        )
        n_rows = n_drawn
    rows = np.empty((n_rows, n_features), dtype=X.dtype)
    n_read = 0
    for first in range(0, len(pieces), _PIECES_AT_ONCE):
        drawn = pieces[first : first + _PIECES_AT_ONCE]
        for block in compute(*(X[low:high] for low, high in drawn.tolist())):
            rows[n_read : n_read + len(block)] = block
            n_read += len(block)
    if meta is None:
        return rows
    return type(meta)(rows, columns=meta.columns, copy=False)


def _pieces(lengths: tuple[int, ...], longest: int) -> NDArray[np.int64]:
    """First row and end of each block, of long blocks of each equal part."""
    ends = [0]
    for length in lengths:
        n_parts = -(-length // longest)
        ends += [ends[-1] + length * part // n_parts for part in range(1, n_parts + 1)]
    edges = np.array(ends, dtype=np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _draw(pieces: NDArray[np.int64], most_rows: int, seed: int) -> NDArray[np.int64]:
    """Pieces drawn at random while they fit, at least one, in their order."""
    order = np.random.default_rng(seed).permutation(len(pieces))
    lengths = np.diff(pieces[order], axis=1).ravel()
    n_fitting = np.searchsorted(lengths.cumsum(), most_rows, side="right")
    return pieces[np.sort(order[: max(1, n_fitting)])]


def _by_chunks(
    estimator: Any, X: Any, method: str, names: NDArray[Any], dtype: np.dtype[Any]
) -> Any:
    """Apply a method to the chunks of rows."""
    from dask.delayed import delayed

    # One task of the graph, so that a worker gets the model once, not with each chunk.
    model = delayed(_frozen(estimator), pure=False, traverse=False)
    if _is_array(X):
        return X.rechunk({1: -1}).map_blocks(
            _rows_of,
            model,
            method,
            len(names),
            dtype,
            chunks=(X.chunks[0], (len(names),)),
            meta=np.empty((0, 0), dtype=dtype),
        )
    empty = np.empty((0, len(names)), dtype=dtype)
    index = _meta(X).index
    return X.map_partitions(
        _frame_of,
        model,
        method,
        names,
        dtype,
        meta=type(_meta(X))(empty, columns=names, index=index),
    )


def _rows_of(
    rows: Any, model: Any, method: str, width: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Apply a method to a chunk, or to none: a filter can leave a chunk no rows."""
    if len(rows) == 0:
        return np.empty((0, width), dtype=dtype)
    return np.asarray(getattr(model, method)(rows), dtype=dtype)


def _frame_of(
    rows: Any, model: Any, method: str, names: NDArray[Any], dtype: np.dtype[Any]
) -> Any:
    out = _rows_of(rows.to_numpy(), model, method, len(names), dtype)
    return type(rows)(out, columns=names, index=rows.index)


def _frozen(estimator: Any) -> Any:
    """A fitted estimator's copy that later calls of its methods leave alone.

    They replace attributes and change none in place, so the copy can be shallow. It
    checks no names of columns: they are checked once, where the graph is made. Dask
    shows how far it is.
    """
    frozen = copy.copy(estimator)
    frozen.callbacks, frozen.verbose = None, 0
    for name in ("feature_names_in_", "_sklearn_output_config"):
        vars(frozen).pop(name, None)
    return frozen


def _check_kind(X: Any) -> None:
    if not _is_array(X) and not _is_frame(X):
        raise TypeError(
            "Of Dask's collections, X must be an array or a DataFrame. "
            f"Got {type(X).__module__}.{type(X).__qualname__}."
        )
    if X.ndim != 2:
        raise ValueError(f"X must have 2 dimensions. Got {X.ndim}.")


def _check_columns(estimator: Any, X: Any, *, reset: bool) -> None:
    _check_kind(X)
    columns = X if _is_array(X) else _meta(X)
    validate_data(estimator, columns, reset=reset, skip_check_array=True)


def _check_output(estimator: Any) -> None:
    """A container other than the default would hold all codes in this process."""
    chosen = getattr(estimator, "_sklearn_output_config", {}).get("transform")
    container = chosen or get_config()["transform_output"]
    if container != "default":
        raise ValueError(
            "The codes of a Dask collection are computed where the collection is, and "
            'set_output must be transform="default" for it. '
            f"Got transform={container!r}."
        )


def _is_array(X: Any) -> bool:
    import dask.array

    return isinstance(X, dask.array.Array)


def _is_frame(X: Any) -> bool:
    # Told by its class: who has arrays alone may lack what Dask's frames import.
    return hasattr(type(X), "map_partitions") and hasattr(type(X), "columns")


def _meta(X: Any) -> Any:
    """The frame without rows that a Dask DataFrame's partitions look like."""
    from dask.dataframe.dispatch import make_meta

    return make_meta(X)
