"""Lift of later pairs among items, with a bootstrap error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

N_DRAWS = 100

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Lift(NamedTuple):
    """Share of affine pairs with a common prefix over the share of all pairs.

    Attributes
    ----------
    value : float
    error : float
        Standard deviation over samples of as many items, drawn with replacement. It is
        up to 1.7 times too large, as each pair counts by both of its items.

    References
    ----------
    Owen (2007), "The pigeonhole bootstrap".
    """

    value: float
    error: float


class Pairs(NamedTuple):
    """Pairs of items with their weights, `csr_array`, and the prefix of each item.

    If rows and columns are the same items, an item and itself is no pair.
    """

    weights: csr_array
    of_rows: Integers
    of_columns: Integers
    is_square: bool


def lift_among(prefix: Integers, weights: csr_array, rng: np.random.Generator) -> Lift:
    """`sk_rqvae.metrics.affinity_lift` of one prefix length, with its error."""
    pairs = Pairs(weights, prefix, prefix, is_square=True)
    value = _lifts(pairs, *[np.ones((len(prefix), 1))] * 2)[0]
    drawn = _draws(len(prefix), rng)
    return Lift(float(value), float(_lifts(pairs, drawn, drawn).std()))


def lift_between(
    rows: Integers, columns: Integers, weights: csr_array, rng: np.random.Generator
) -> Lift:
    """The same for pairs of an item of one set and an item of another."""
    pairs = Pairs(weights, rows, columns, is_square=False)
    value = _lifts(pairs, np.ones((len(rows), 1)), np.ones((len(columns), 1)))[0]
    lifts = _lifts(pairs, _draws(len(rows), rng), _draws(len(columns), rng))
    return Lift(float(value), float(lifts.std()))


def _draws(n_items: int, rng: np.random.Generator) -> Floats:
    """How often each item was drawn, ``(n_items, N_DRAWS)``."""
    equal = np.full(n_items, 1 / n_items)
    return rng.multinomial(n_items, equal, size=N_DRAWS).T.astype(np.float64)


def _lifts(pairs: Pairs, rows: Floats, columns: Floats) -> Floats:
    """Lifts where items count as often as `rows` and `columns` say."""
    weights = pairs.weights.tocoo()
    common = pairs.of_rows[weights.row] == pairs.of_columns[weights.col]
    kept = weights.data[common], (weights.row[common], weights.col[common])
    shared = csr_array(kept, shape=weights.shape)
    observed = (rows * (shared @ columns)).sum(0) / (
        rows * (pairs.weights @ columns)
    ).sum(0)
    n_prefixes = 1 + max(pairs.of_rows.max(), pairs.of_columns.max())
    by_prefix = (
        _sums(rows, pairs.of_rows, n_prefixes)
        * _sums(columns, pairs.of_columns, n_prefixes)
    ).sum(0)
    of_all = rows.sum(0) * columns.sum(0)
    same_item = (rows * columns).sum(0) if pairs.is_square else 0.0
    lifts: Floats = observed / ((by_prefix - same_item) / (of_all - same_item))
    return lifts


def _sums(counts: Floats, prefix: Integers, n_prefixes: int) -> Floats:
    """Sums of rows with equal prefixes, ``(n_prefixes, n_draws)``."""
    positions = (prefix, np.arange(len(prefix)))
    members = csr_array(
        (np.ones(len(prefix)), positions), shape=(n_prefixes, len(prefix))
    )
    sums: Floats = members @ counts
    return sums
