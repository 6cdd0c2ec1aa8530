"""Exact nearest neighbours of some rows among all, with ties kept apart from order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.metrics._checks import Matrix, row_blocks

_BLOCK_DISTANCES = 2**25
_SAMPLING_STEP = 64
_TIE_TOLERANCE = 1e-9


class Neighborhood(NamedTuple):
    """Items around a query, which is left out, by Euclidean distance.

    Attributes
    ----------
    closer : ndarray of shape (fewer than k,)
        Items nearer than the k-th neighbour.
    tied : ndarray of shape (at least k - len(closer),)
        Items as far as the k-th neighbour, itself included.
    """

    closer: IntArray
    tied: IntArray


def neighborhoods(X: Matrix, queries: IntArray, k: int) -> Iterator[Neighborhood]:
    """Yield the neighbourhood of each query, a row number, in order.

    Matrix products find the few items that can matter, in single precision if `X` is
    no more precise. Those are measured again in double precision from the differences
    of the rows themselves, so that neither an offset nor tight clusters cost accuracy.
    """
    points = _standardised(X)
    norms = np.einsum("ij,ij->i", points, points)
    rounding = 8 * np.sqrt(X.shape[1]) * np.finfo(points.dtype).eps + _TIE_TOLERANCE
    step = max(1, _BLOCK_DISTANCES // len(points))
    # One buffer for all blocks, because fresh memory costs as much as the product.
    buffer = np.empty((min(step, len(queries)), len(points)), dtype=points.dtype)
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        # Squared distances, less the constant |query|^2 of each row.
        distances = np.matmul(points[block], points.T, out=buffer[: len(block)])
        distances *= -2
        distances += norms
        for query, row in zip(block, distances, strict=True):
            row[query] = np.inf
            furthest = _kth_smallest(row, k)
            uncertain = norms[query] + max(furthest + norms[query], 0.0)
            candidates = np.flatnonzero(row <= furthest + rounding * uncertain)
            yield _neighborhood(X, query, candidates, k)


def _neighborhood(X: Matrix, query: int, candidates: IntArray, k: int) -> Neighborhood:
    distances = _squared_distances(X, query, candidates)
    radius = np.partition(distances, k - 1)[k - 1]
    closer = distances < radius * (1 - _TIE_TOLERANCE)
    tied = ~closer & (distances <= radius * (1 + _TIE_TOLERANCE))
    return Neighborhood(candidates[closer], candidates[tied])


def _squared_distances(X: Matrix, query: int, items: IntArray) -> NDArray[np.float64]:
    origin = X[query].astype(np.float64)
    distances = np.empty(len(items))
    for block in row_blocks((len(items), X.shape[1])):
        difference = X[items[block]] - origin
        distances[block] = np.einsum("ij,ij->i", difference, difference)
    return distances


def _kth_smallest(values: Matrix, k: int) -> float:
    # The k-th smallest of a few bounds the k-th smallest of all, so that only what
    # lies below it needs ordering.
    step = max(1, min(_SAMPLING_STEP, len(values) // (4 * k)))
    bound = np.partition(values[::step], k - 1)[k - 1]
    return float(np.partition(values[values <= bound], k - 1)[k - 1])


def _standardised(X: Matrix) -> Matrix:
    """Centre all columns and divide by one scale, which keeps who is near whom."""
    is_single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    dtype = np.float32 if is_single else np.float64
    centre = X.mean(axis=0, dtype=np.float64).astype(dtype)
    centred = np.asarray(X, dtype=dtype) - centre
    scale = max(centred.max(), -centred.min())
    return np.divide(centred, scale, out=centred) if scale > 0 else centred
