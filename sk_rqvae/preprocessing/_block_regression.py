"""Predict missing blocks of columns from the blocks that a row has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._ridge import ridge_by_gcv

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Regressions = dict[tuple[tuple[int, ...], int], "BlockRegression"]
"""Keys are the numbers of the blocks that a row has, and of the block to predict."""

_ROWS_AT_ONCE = 8192


class BlockRegression(NamedTuple):
    """A linear prediction of a block, of the length that the block has in known rows.

    Attributes
    ----------
    mean : ndarray of shape (n_given,)
        Of the columns to predict from.
    weights : ndarray of shape (n_given, n_predicted)
    offset : ndarray of shape (n_predicted,)
    """

    mean: FloatArray
    weights: FloatArray
    offset: FloatArray

    def predict(self, given: NDArray[Any]) -> FloatArray:
        """Predict the block in rows with the columns `given`."""
        predicted: FloatArray = (given - self.mean) @ self.weights + self.offset
        return predicted


def fit_block_regressions(
    rows: NDArray[Any], row_weights: FloatArray, missing: BoolArray, sizes: list[int]
) -> Regressions:
    """A regression for each block and each set of other blocks.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Scaled rows.
    row_weights : ndarray of shape (n,)
    missing : ndarray of shape (n, n_blocks), bool
    sizes : list of int
        Columns of each block.

    Returns
    -------
    dict
        Without those for which fewer than two rows have all of the blocks.
    """
    columns = block_columns(sizes)
    found: Regressions = {}
    for given in _proper_subsets(len(sizes)):
        for block in set(range(len(sizes))).difference(given):
            used = ~missing[:, [*given, block]].any(axis=1) & (row_weights > 0)
            if used.sum() < 2:
                continue
            known = np.concatenate([columns[number] for number in given])
            found[given, block] = _regression(
                rows, np.flatnonzero(used), row_weights, known, columns[block]
            )
    return found


def fill_with_predictions(
    rows: NDArray[Any],
    missing: BoolArray,
    sizes: list[int],
    regressions: Regressions,
    names: list[str],
) -> None:
    """Replace missing blocks in place by their predictions.

    Raises
    ------
    ValueError
        If there is no regression on the blocks that a row has.
    """
    columns = block_columns(sizes)
    incomplete = np.flatnonzero(missing.any(axis=1))
    patterns, which = np.unique(missing[incomplete], axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        chosen = incomplete[which.ravel() == number]
        given = tuple(map(int, np.flatnonzero(~pattern)))
        known = rows[
            np.ix_(chosen, np.concatenate([columns[block] for block in given]))
        ]
        for block in map(int, np.flatnonzero(pattern)):
            regression = regressions.get((given, block))
            if regression is None:
                raise ValueError(
                    f"X has no block {names[block]!r} in row {chosen[0]}, and it "
                    "cannot be predicted: fewer than two rows of positive weight had "
                    f"it beside {[names[other] for other in given]} in fit. "
                    "fill='mean' needs no such rows."
                )
            rows[np.ix_(chosen, columns[block])] = regression.predict(known)


def block_columns(sizes: list[int]) -> list[NDArray[np.int64]]:
    """Numbers of the columns of each block."""
    return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])


def _proper_subsets(n_blocks: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, n_blocks):
        yield from combinations(range(n_blocks), size)


def _regression(
    rows: NDArray[Any],
    used: NDArray[np.int64],
    row_weights: FloatArray,
    known: NDArray[np.int64],
    block: NDArray[np.int64],
) -> BlockRegression:
    """Regress the columns `block` on the columns `known` of the rows `used`."""
    row_weight = row_weights[used] / row_weights[used].sum() * len(used)
    both = np.concatenate([known, block])
    n_known = len(known)
    parts = [
        slice(start, start + _ROWS_AT_ONCE)
        for start in range(0, len(used), _ROWS_AT_ONCE)
    ]
    mean = np.zeros(len(both))
    for part in parts:
        mean += row_weight[part] @ rows[np.ix_(used[part], both)]
    mean /= row_weight.sum()
    products = np.zeros((n_known, len(both)))
    power = 0.0
    for part in parts:
        centred = rows[np.ix_(used[part], both)] - mean
        weighted = centred * row_weight[part, np.newaxis]
        products += weighted[:, :n_known].T @ centred
        power += float((weighted[:, n_known:] * centred[:, n_known:]).sum())
    squares, cross = products[:, :n_known], products[:, n_known:]
    weights = ridge_by_gcv(squares, cross, power, len(used))
    predicted_power = float((weights * (squares @ weights)).sum())
    # Predictions are shorter than what they predict, and short blocks are all similar.
    length = np.sqrt(power / predicted_power) if predicted_power > 0 else 0.0
    return BlockRegression(mean[:n_known], length * weights, mean[n_known:])
