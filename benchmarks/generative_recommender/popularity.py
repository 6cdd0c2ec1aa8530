"""The baseline that knows no user: what most people watched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def most_popular(
    train: Sequence[NDArray[np.int64]], allowed: NDArray[np.bool_], k: int
) -> NDArray[np.int64]:
    """The k most frequent items of `train` that a user may be shown.

    Parameters
    ----------
    train : sequence of ndarray
        Histories of users.
    allowed : ndarray of shape (n_users, n_items), bool

    Returns
    -------
    ndarray of shape (n_users, k)
        The most frequent first; of equally frequent ones the lower number.
    """
    counts = np.bincount(np.concatenate(train), minlength=allowed.shape[1])
    return np.argsort(np.where(allowed, -counts, 1), axis=1, kind="stable")[:, :k]
