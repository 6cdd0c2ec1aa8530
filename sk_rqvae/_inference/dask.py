"""Dask collections: transform them lazily, and load rows of them for training."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils.validation import validate_data

from sk_rqvae._checks.codes import check_order_of_columns
from sk_rqvae._checks.rows import refuse_other_kinds

_MIN_BLOCKS = 8
_BLOCKS_AT_ONCE = 4
_BYTES_PER_FLOAT = 4

logger = logging.getLogger("sk_rqvae")


def is_dask(X: Any) -> bool:
    """Whether `X` is a Dask collection; does not import Dask."""
    return hasattr(X, "__dask_graph__")


def refuse_dask(X: Any) -> None:
    """Raise TypeError if `X` is a Dask collection."""
    if is_dask(X):
        raise TypeError(
            "A Dask collection can only be fitted and transformed. For all else, pass "
            "rows that are computed."
        )


def lazy_transform(estimator: Any, X: Any) -> Any:
    """Codes of a Dask array or Dask DataFrame, computed lazily.

    Parameters
    ----------
    estimator : RQVAETransformer
        A fitted estimator. Later changes to it do not affect the result.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features)

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame of shape (n, n_layers), int64
        Its chunks have the rows of the chunks of `X`. A DataFrame has the index of `X`.
    """
    _check_output(estimator)
    _check_columns(estimator, X)
    names = estimator.get_feature_names_out()
    return _by_chunks(estimator, X, "transform", names, np.dtype(np.int64))


def lazy_inverse_transform(estimator: Any, X: Any) -> Any:
    """Reconstructions of a Dask array or Dask DataFrame of codes, computed lazily.

    Parameters
    ----------
    estimator : RQVAETransformer
        A fitted estimator. Later changes to it do not affect the result.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, k), k <= n_layers

    Returns
    -------
    dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features), float64

    Raises
    ------
    ValueError
        If a DataFrame has columns of `transform` in another order.
    """
    _check_kind(X)
    if _is_frame(X):
        check_order_of_columns(_meta(X), estimator.get_feature_names_out())
    estimator.inverse_transform(np.empty((0, X.shape[1]), dtype=np.int64))
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = np.array([f"x{column}" for column in range(estimator.n_features_in_)])
    return _by_chunks(estimator, X, "inverse_transform", names, np.dtype(np.float64))


def gather(estimator: Any, X: Any, *, max_bytes: int, seed: int) -> Any:
    """Load the rows to train on into memory, a few blocks at a time.

    1. Split long chunks, so that there are enough blocks to sample from.
    2. If all rows would exceed `max_bytes`, sample blocks at random and log a warning.
    3. Load the blocks in their order.

    Parameters
    ----------
    estimator : RQVAETransformer
        Its class name is used in the log message.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n, n_features)
    max_bytes : int
        Largest matrix to load, in bytes as float32. At least one block is loaded.
    seed : int
        Seed of the sampling.

    Returns
    -------
    ndarray or pandas.DataFrame of shape (m, n_features), m <= n
        Of the type of the chunks of `X`, with rows in their order.
    """
    from dask.base import compute

    _check_kind(X)
    meta = None
    if not _is_array(X):
        meta = _meta(X)
        X = _without_missing(X, meta).to_dask_array(lengths=True)
    elif np.isnan(X.chunks[0]).any():
        X = copy.copy(X).compute_chunk_sizes()
    n_rows, n_features = X.shape
    max_rows = max(1, max_bytes // (_BYTES_PER_FLOAT * max(1, n_features)))
    blocks = _blocks(X.chunks[0], max(1, max_rows // _MIN_BLOCKS))
    if n_rows > max_rows:
        blocks = _draw(blocks, max_rows, seed)
        n_drawn = int(np.diff(blocks, axis=1).sum())
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
    for first in range(0, len(blocks), _BLOCKS_AT_ONCE):
        drawn = blocks[first : first + _BLOCKS_AT_ONCE]
        for rows_read in compute(*(X[low:high] for low, high in drawn.tolist())):
            refuse_other_kinds(rows_read)  # a copy would lose the mask
            rows[n_read : n_read + len(rows_read)] = rows_read
            n_read += len(rows_read)
    if meta is None:
        return rows
    return type(meta)(rows, columns=meta.columns, copy=False)


def _without_missing(X: Any, meta: Any) -> Any:
    """A DataFrame whose missing values are NaN, which the check of `X` then names."""
    if _to_numpy(meta).dtype != object and not _has_nullable(meta):
        return X
    return X.map_partitions(_as_floats, meta=_as_floats(meta))


def _has_nullable(frame: Any) -> bool:
    return any(hasattr(dtype, "na_value") for dtype in frame.dtypes)


def _as_floats(frame: Any) -> Any:
    return frame.astype(np.float64)


def _to_numpy(frame: Any) -> NDArray[Any]:
    """Values of a DataFrame; missing ones of nullable columns are NaN."""
    if _has_nullable(frame):
        frame = _as_floats(frame)
    values: NDArray[Any] = frame.to_numpy()
    return values


def _blocks(lengths: tuple[int, ...], longest: int) -> NDArray[np.int64]:
    """Row ranges of the blocks: chunks, with long ones split into equal parts."""
    ends = [0]
    for length in lengths:
        n_parts = -(-length // longest)
        ends += [ends[-1] + length * part // n_parts for part in range(1, n_parts + 1)]
    edges = np.array(ends, dtype=np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _draw(blocks: NDArray[np.int64], max_rows: int, seed: int) -> NDArray[np.int64]:
    """Sample blocks at random while they fit, at least one; keep their order."""
    order = np.random.default_rng(seed).permutation(len(blocks))
    lengths = np.diff(blocks[order], axis=1).ravel()
    n_fitting = np.searchsorted(lengths.cumsum(), max_rows, side="right")
    return blocks[np.sort(order[: max(1, n_fitting)])]


def _by_chunks(
    estimator: Any, X: Any, method: str, names: NDArray[Any], dtype: np.dtype[Any]
) -> Any:
    """Apply a method of the estimator to each chunk of rows."""
    from dask.delayed import delayed

    # As a task of its own, the model is sent to a worker once and not with each chunk.
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
    rows: Any,
    model: Any,
    method: str,
    width: int,
    dtype: np.dtype[Any],
    *,
    block_info: dict[Any, Any],
) -> NDArray[Any]:
    """Apply a method to one chunk; Dask passes `block_info`."""
    number = block_info[0]["chunk-location"][0]
    first, _ = block_info[0]["array-location"][0]
    place = f"X.blocks[{number}]"
    if not np.isnan(first):
        place += f", which begins at row {first}"
    return _applied(rows, model, method, width, dtype, place)


def _frame_of(
    rows: Any,
    model: Any,
    method: str,
    names: NDArray[Any],
    dtype: np.dtype[Any],
    *,
    partition_info: dict[str, Any],
) -> Any:
    """Apply a method to one partition; Dask passes `partition_info`."""
    # Dask numbers the partitions that remain after it has dropped the others.
    place = f"partition {partition_info['number']} of those computed"
    if len(rows):
        place += f", whose index begins with {rows.index[0]}"
    out = _applied(_to_numpy(rows), model, method, len(names), dtype, place)
    return type(rows)(out, columns=names, index=rows.index)


def _applied(
    rows: Any, model: Any, method: str, width: int, dtype: np.dtype[Any], place: str
) -> NDArray[Any]:
    """Apply a method to some rows, of which there are none after some filters."""
    if len(rows) == 0:
        return np.empty((0, width), dtype=dtype)
    try:
        return np.asarray(getattr(model, method)(rows), dtype=dtype)
    except ValueError as error:
        raise ValueError(f"{error} Rows are numbered within {place}.") from error


def _frozen(estimator: Any) -> Any:
    """A copy of a fitted estimator that later fits do not change.

    A shallow copy suffices, since fits replace attributes and modify none in place. The
    copy has no callbacks and no progress bars, as Dask has its own. It does not check
    column names, which are checked once, when the graph is built.
    """
    frozen = copy.copy(estimator)
    frozen.callbacks, frozen.verbose = None, 0
    for name in ("feature_names_in_", "_sklearn_output_config"):
        vars(frozen).pop(name, None)
    return frozen


def _check_kind(X: Any) -> None:
    if not _is_array(X) and not _is_frame(X):
        raise TypeError(
            "X must be a Dask array or a Dask DataFrame. "
            f"Got {type(X).__module__}.{type(X).__qualname__}."
        )
    if X.ndim != 2:
        raise ValueError(f"X must have 2 dimensions. Got {X.ndim}.")
    if _is_array(X) and np.isnan(X.shape[1]):
        raise ValueError(
            "X must have a known number of columns. Got one that is unknown. Call "
            "X.compute_chunk_sizes() first."
        )


def _check_columns(estimator: Any, X: Any) -> None:
    _check_kind(X)
    columns = X if _is_array(X) else _meta(X)
    validate_data(estimator, columns, reset=False, skip_check_array=True)


def _check_output(estimator: Any) -> None:
    """Other containers than the default would load all codes into this process."""
    chosen = getattr(estimator, "_sklearn_output_config", {}).get("transform")
    container = chosen or get_config()["transform_output"]
    if container != "default":
        raise ValueError(
            "The codes of a Dask collection stay in Dask, so "
            'set_output must be transform="default" for it. '
            f"Got transform={container!r}."
        )


def _is_array(X: Any) -> bool:
    import dask.array

    return isinstance(X, dask.array.Array)


def _is_frame(X: Any) -> bool:
    # Not by isinstance: dask.dataframe needs packages that users of arrays may lack.
    return hasattr(type(X), "map_partitions") and hasattr(type(X), "columns")


def _meta(X: Any) -> Any:
    """An empty DataFrame of the type of the partitions."""
    from dask.dataframe.dispatch import make_meta

    return make_meta(X)
