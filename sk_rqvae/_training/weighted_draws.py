"""Draw rows in proportion to their weights, by systematic resampling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_FIXED_OFFSET = 0.5
_ROUNDING = 1e-12


def draw_counts(
    weights: NDArray[np.float64], n_draws: int, rng: np.random.Generator | None
) -> NDArray[np.int64]:
    """How often each row is drawn, if `n_draws` are divided by weight.

    The weights are laid end to end on a line, which `n_draws` points divide into equal
    steps. A row is drawn once for each point on its stretch, so that its count is its
    expected count rounded up or down.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Positive.
    n_draws : int
    rng : numpy.random.Generator or None
        Draws the position of the first point, which makes the expected counts exact.
        None puts it in the middle of the first step.

    Returns
    -------
    ndarray of shape (n,), dtype int64
        Their sum is `n_draws`.

    References
    ----------
    Kitagawa (1996), "Monte Carlo filter and smoother for non-Gaussian nonlinear state
    space models" (systematic resampling).
    """
    offset = _FIXED_OFFSET if rng is None else rng.random()
    edges = np.cumsum(weights / weights.max())
    edges *= n_draws / edges[-1]
    edges[-1] = n_draws
    points = np.floor(edges + offset).astype(np.int64)
    return np.asarray(np.diff(points, prepend=0), dtype=np.int64)


def number_of_draws(weights: NDArray[np.float64], max_draws: int) -> int:
    """Size of the sample in which the row of least weight is expected once.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Positive.
    max_draws : int

    Returns
    -------
    int
        At most `max_draws`.
    """
    relative = weights / weights.max()
    # Bounded below, so that the ratio of the weights cannot overflow.
    lightest = max(relative.min(), relative.sum() / (max_draws + 1))
    n_repeated = relative.sum() / lightest * (1 - _ROUNDING)
    return min(math.ceil(n_repeated), max_draws)
