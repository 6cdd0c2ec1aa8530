"""Validation of `sample_weight`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite

from sk_rqvae._checks.missing import check_unmasked


def check_sample_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64]:
    """One finite, non-negative weight per row, not all of them zero.

    Raises
    ------
    TypeError
        If weights are masked.
    ValueError
        If the shape is not ``(n_rows,)``, a weight is negative or not finite, or no
        weight is positive.
    """
    check_unmasked(sample_weight, "sample_weight", instead="weights.filled(0)")
    weights: Any = np.asarray(sample_weight)
    if weights.dtype.kind == "c":
        raise ValueError("sample_weight must be numbers. Got: they are complex.")
    try:
        weights = weights.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must be numbers. Got: {error}.") from error
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must have shape ({n_rows},), one weight per row of X. Got "
            f"{weights.shape}."
        )
    assert_all_finite(weights, input_name="sample_weight")
    if weights.min() < 0:
        raise ValueError(f"sample_weight must not be negative. Got {weights.min()}.")
    if not weights.any():
        raise ValueError("sample_weight must have a positive entry. Got zero weights.")
    return np.asarray(weights)
