"""Where ranked lists have the one item that each user took next.

The mean of `hits` over users is recall (with one target a user also called hit rate),
that of `gains` normalised discounted cumulative gain, NDCG.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hits(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 for each user whose target is in their list, 0 for the others.

    Parameters
    ----------
    ranked : ndarray of shape (n_users, k)
        Items, the best first.
    targets : ndarray of shape (n_users,)

    Returns
    -------
    ndarray of shape (n_users,)
    """
    return (ranked == targets[:, None]).any(axis=1).astype(np.float64)


def gains(ranked: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """``1 / log2(1 + rank)`` of each user's target, 0 where it is not in the list.

    The best rank is 1. No other item is relevant, so the ideal gain is 1 and nothing is
    left to normalise (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002).

    Returns
    -------
    ndarray of shape (n_users,)
        In [0, 1].
    """
    of_rank = 1 / np.log2(np.arange(ranked.shape[1]) + 2)
    return (ranked == targets[:, None]) @ of_rank
