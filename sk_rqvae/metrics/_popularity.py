"""Head, torso and tail of a catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae._checks.scalars import check_real


def popularity_groups(
    popularity: ArrayLike, *, head: float = 0.2, tail: float = 0.2
) -> NDArray[np.str_]:
    """Divide items into head, torso and tail by their shares of the interactions.

    Parameters
    ----------
    popularity : array-like of shape (n_items,)
        Number of training interactions of each item.
    head : float, default=0.2
        Share of the interactions that the head has at most. The head contains the most
        popular items.
    tail : float, default=0.2
        Share of the interactions that the tail has at most. The tail contains the least
        popular items, with those that have no interaction.

    Returns
    -------
    ndarray of shape (n_items,), dtype str
        "head", "torso" or "tail" for each item. Items of equal popularity are in the
        same group.

    Raises
    ------
    ValueError
        If a popularity is negative or not finite, all are zero, or the shares are not
        in [0, 1] with a sum of at most 1.

    See Also
    --------
    score_generated_ids : Scores of queries, which can be averaged by these groups.

    Notes
    -----
    Overall averages hide how well rare items are recommended. Groups by share of the
    interactions have similar numbers of test queries, whatever the skew. Other work
    divides by share of the items [1]_.

    References
    ----------
    .. [1] H. Abdollahpouri, R. Burke and B. Mobasher. Popularity-Aware Item Weighting
       for Long-Tail Recommendation. 2018. arXiv:1802.05382. (Short head, long tail and
       distant tail.)

    Examples
    --------
    >>> from sk_rqvae.metrics import popularity_groups
    >>> popularity_groups([10, 2, 40, 0, 48], head=0.5, tail=0.2)
    array(['tail', 'tail', 'torso', 'tail', 'head'], dtype='<U5')
    """
    counts = _check_popularity(popularity)
    head = check_real("head", head, low=0, high=1)
    tail = check_real("tail", tail, low=0, high=1)
    if head + tail > 1:
        raise ValueError(f"head + tail must be at most 1. Got {head + tail}.")
    values, group = np.unique(counts, return_inverse=True)
    interactions = np.bincount(group, weights=counts)
    up_to = np.cumsum(interactions) / interactions.sum()
    from_on = np.cumsum(interactions[::-1])[::-1] / interactions.sum()
    # Rounding in a sum must not move an item across a boundary.
    tolerance = 1e-12
    names = np.full(len(values), "torso")
    names[up_to <= tail + tolerance] = "tail"
    names[from_on <= head + tolerance] = "head"
    names[values == 0] = "tail"
    return names[group]


def check_counts(popularity: ArrayLike) -> NDArray[np.float64]:
    """Return finite, non-negative numbers, one per item."""
    check_unmasked(popularity, "popularity", instead="popularity.filled(0)")
    counts: Any = check_array(
        popularity, ensure_2d=False, dtype=np.float64, input_name="popularity"
    )
    if counts.ndim != 1:
        raise ValueError(f"popularity must be 1-D. Got shape {counts.shape}.")
    if counts.min() < 0:
        raise ValueError(f"popularity must not be negative. Got {counts.min()}.")
    return np.asarray(counts)


def _check_popularity(popularity: ArrayLike) -> NDArray[np.float64]:
    counts = check_counts(popularity)
    if counts.sum() == 0:
        raise ValueError("popularity must have a positive entry. Got zeros only.")
    return counts
