"""Churn: the share of IDs that differ between two versions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import check_codes
from sk_rqvae.metrics._checks import check_item_codes


def id_churn(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """Share of the items whose ID prefix changed, by level.

    Parameters
    ----------
    before, after : array-like of shape (n_items, n_layers)
        IDs of the same items in the same order, such as those of two versions of a
        model.

    Returns
    -------
    ndarray of shape (n_layers,)
        Entry ``l`` is the share of the items whose first ``l + 1`` codes differ. Values
        do not decrease from level to level. The last one is the share of changed IDs.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or the shapes differ.
    TypeError
        If `before` or `after` does not hold integers.

    Notes
    -----
    A recommender that was trained on the old IDs has to relearn the changed ones. Codes
    are compared as they are. Two models that group items in the same way, but number
    their codes differently, have a churn near 1 [1]_.

    References
    ----------
    .. [1] J. Ding, H. Chang, H. Qin and T. Liu. SIDInspector: A Mapping-First
       Diagnostic Resource for Semantic-ID Tokenizers. 2026. arXiv:2606.10375.
       (Temporal churn of a mapping.)

    Examples
    --------
    >>> from sk_rqvae.metrics import id_churn
    >>> id_churn([[0, 1], [2, 3], [4, 5]], [[0, 1], [2, 0], [4, 5]]).round(3)
    array([0.   , 0.333])
    """
    old, new = check_item_codes(before, name="before"), check_codes(after, name="after")
    if old.shape != new.shape:
        raise ValueError(
            "before and after must have the same shape. Got "
            f"{old.shape} and {new.shape}."
        )
    changed = np.logical_or.accumulate(old != new, axis=1)
    return np.asarray(changed.mean(axis=0))
