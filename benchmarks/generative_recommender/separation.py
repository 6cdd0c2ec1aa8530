"""Make more codes distinct at the cost of the nearest free code."""

from __future__ import annotations

import numpy as np

from _contract import Codes, Matrix, Quantizer


def separated(
    quantizer: Quantizer, X: Matrix, n_codes: int, wanted_share: float
) -> Codes:
    """Encode rows, and change last codes until enough IDs are distinct.

    Of rows that share an ID, the nearest to its reconstruction keeps it. The others
    move to the nearest last code under their prefix that is free, those first for which
    this costs the least, until the share of distinct IDs is the wanted one or no move
    is possible.

    Parameters
    ----------
    quantizer : Quantizer
        Its reconstructions are sums of one vector a code.
    X : ndarray of shape (n, n_features)
    n_codes : int
        Codes of the last level.
    wanted_share : float
        Distinct IDs divided by rows.

    Returns
    -------
    ndarray of shape (n, n_layers)
    """
    codes = quantizer.encode(X).copy()
    prefix = quantizer.decode(codes[:, :-1])
    codebook = _last_codebook(quantizer, codes[0], n_codes)
    residual = X - prefix
    distances = (
        np.square(residual).sum(1)[:, None]
        - 2 * residual @ codebook.T
        + np.square(codebook).sum(1)
    )
    rows = np.arange(len(X))
    nearest_first = rows[np.argsort(distances[rows, codes[:, -1]], kind="stable")]
    _, first = np.unique(codes[nearest_first], axis=0, return_index=True)
    keeps = np.zeros(len(X), dtype=bool)
    keeps[nearest_first[first]] = True
    taken = set(map(tuple, codes.tolist()))
    missing = round(wanted_share * len(X)) - len(taken)
    _, group = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    free = np.ones((group.max() + 1, n_codes), dtype=bool)
    free[group, codes[:, -1]] = False
    movers = rows[~keeps]
    for row in movers[np.argsort(_costs(distances, free, group, codes, movers))]:
        if missing <= 0:
            break
        open_codes = np.flatnonzero(free[group[row]])
        if not len(open_codes):
            continue
        code = open_codes[distances[row, open_codes].argmin()]
        codes[row, -1] = code
        free[group[row], code] = False
        missing -= 1
    return codes


def _costs(
    distances: Matrix, free: Matrix, group: Codes, codes: Codes, movers: Codes
) -> Matrix:
    """Compute by how much the nearest free code is further away, before any move."""
    possible = np.where(free[group[movers]], distances[movers], np.inf)
    costs: Matrix = possible.min(1) - distances[movers, codes[movers, -1]]
    return costs


def _last_codebook(quantizer: Quantizer, some_codes: Codes, n_codes: int) -> Matrix:
    ids = np.tile(some_codes, (n_codes, 1))
    ids[:, -1] = np.arange(n_codes)
    codebook: Matrix = quantizer.decode(ids) - quantizer.decode(ids[:, :-1])
    return codebook
