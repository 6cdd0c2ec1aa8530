"""Codebooks whose vectors add up to a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from _contract import Codes, Matrix


def sum_of_codes(codebooks: Iterable[Matrix], codes: Codes) -> Matrix:
    """Add the vectors of (prefixes of) IDs."""
    first, *others = zip(codebooks, codes.T, strict=False)
    total: Matrix = first[0][first[1]]
    for codebook, column in others:
        total += codebook[column]
    return total


def nearest_codes(codebooks: Sequence[Matrix], X: Matrix) -> Codes:
    """Level after level, the vector nearest to the residual of a row."""
    left = X.copy()
    codes = np.empty((len(X), len(codebooks)), dtype=np.int64)
    for level, codebook in enumerate(codebooks):
        codes[:, level] = pairwise_distances_argmin(left, codebook)
        left -= codebook[codes[:, level]]
    return codes
