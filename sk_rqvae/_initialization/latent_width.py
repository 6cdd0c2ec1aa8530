"""Widths of latents: the largest, and the water level of reverse water-filling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_WIDTH = 1024


def max_width(n_features: int) -> int:
    """Width of latents that keep every component, capped at 1024."""
    return min(n_features, _MAX_WIDTH)


def water_level(spectrum: NDArray[np.float64], n_bits: float) -> float:
    """Error of each component under ideal codes of a Gaussian: reverse water-filling.

    Parameters
    ----------
    spectrum : ndarray of shape (n,)
        Variances of independent components, in descending order, the first positive.
    n_bits : float
        Bits for all components of one point together.

    Returns
    -------
    float
        The water level. Components of higher variance get bits until their error is
        this level; those of lower variance get none.

    References
    ----------
    Cover and Thomas (2006), "Elements of Information Theory", theorem 10.3.3.
    """
    logs = np.log2(spectrum[spectrum > 0])
    levels = (logs.cumsum() - 2 * n_bits) / np.arange(1, len(logs) + 1)
    # The first component is above its own level, whatever the rounding.
    last = np.flatnonzero(levels <= logs).max(initial=0)
    return float(min(2 ** levels[last], spectrum[last]))
