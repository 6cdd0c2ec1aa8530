"""Exact nearest neighbours with explicit ties, by blocks of queries."""

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
    """The k nearest items of a query by Euclidean distance, without the query itself.

    Attributes
    ----------
    closer : ndarray of shape (fewer than k,)
        Items that are nearer than the k-th neighbour.
    tied : ndarray of shape (at least k - len(closer),)
        Items at the distance of the k-th neighbour, which is one of them.
    """

    closer: IntArray
    tied: IntArray


def neighborhoods(X: Matrix, queries: IntArray, k: int) -> Iterator[Neighborhood]:
    """Yield the neighbourhood of each query in order. A query is a row index of `X`.

    Matrix products select candidates, in single precision if `X` is of single
    precision. The distances of the candidates are then computed in double precision
    from differences of rows, so that neither an offset nor tight clusters lose digits.
    """
    points = _standardised(X)
    norms = np.einsum("ij,ij->i", points, points)
    rounding = 8 * np.sqrt(X.shape[1]) * np.finfo(points.dtype).eps + _TIE_TOLERANCE
    _, exponent = np.frexp(max(float(X.max()), -float(X.min())))
    step = max(1, _BLOCK_DISTANCES // len(points))
    # Blocks share one buffer: allocating takes as long as the matrix product.
    buffer = np.empty((min(step, len(queries)), len(points)), dtype=points.dtype)
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        # Squared distances minus |query|^2, which is constant in a row.
        distances = np.matmul(points[block], points.T, out=buffer[: len(block)])
        distances *= -2
        distances += norms
        for query, row in zip(block, distances, strict=True):
            row[query] = np.inf
            kth_distance = _kth_smallest(row, k)
            uncertain = norms[query] + max(kth_distance + norms[query], 0.0)
            candidates = np.flatnonzero(row <= kth_distance + rounding * uncertain)
            yield _neighborhood(X, query, candidates, k, exponent)


def _neighborhood(
    X: Matrix, query: int, candidates: IntArray, k: int, exponent: int
) -> Neighborhood:
    distances = _squared_distances(X, query, candidates, exponent)
    radius = np.partition(distances, k - 1)[k - 1]
    closer = distances < radius * (1 - _TIE_TOLERANCE)
    tied = ~closer & (distances <= radius * (1 + _TIE_TOLERANCE))
    return Neighborhood(candidates[closer], candidates[tied])


def _squared_distances(
    X: Matrix, query: int, items: IntArray, exponent: int
) -> NDArray[np.float64]:
    """Scaled by a power of two, so that squares neither overflow nor vanish."""
    origin = np.ldexp(X[query].astype(np.float64), -exponent)
    distances = np.empty(len(items))
    for block in row_blocks((len(items), X.shape[1])):
        rows = X[items[block]].astype(np.float64)
        difference = np.ldexp(rows, -exponent) - origin
        distances[block] = np.einsum("ij,ij->i", difference, difference)
    return distances


def _kth_smallest(values: Matrix, k: int) -> float:
    # The k-th smallest value of a sample is an upper bound on the k-th smallest of all
    # values. Only values up to that bound have to be partitioned.
    step = max(1, min(_SAMPLING_STEP, len(values) // (4 * k)))
    bound = np.partition(values[::step], k - 1)[k - 1]
    return float(np.partition(values[values <= bound], k - 1)[k - 1])


def _standardised(X: Matrix) -> Matrix:
    """Centre the columns and divide by one number, which keeps the neighbours."""
    is_single = X.dtype.kind == "f" and X.dtype.itemsize <= 4
    dtype = np.float32 if is_single else np.float64
    centre = X.mean(axis=0, dtype=np.float64).astype(dtype)
    centred = np.asarray(X, dtype=dtype) - centre
    scale = max(centred.max(), -centred.min())
    return np.divide(centred, scale, out=centred) if scale > 0 else centred
