"""Agreement of ID prefixes with given labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import row_keys
from sk_rqvae.metrics._checks import check_item_codes, check_labels
from sk_rqvae.metrics._mutual_information import adjusted_mutual_information


def prefix_label_agreement(codes: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Adjusted mutual information of ID prefixes and labels, by level.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    labels : array-like of shape (n_items,)
        One label per item, such as a category: numbers or strings.

    Returns
    -------
    ndarray of shape (n_layers,)
        Entry ``l`` compares the labels with the first ``l + 1`` codes. It is 1 where
        prefix and label determine each other, and about 0 where they are independent.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `labels` has
        another length or one is missing: None or NaN.
    TypeError
        If `codes` does not hold integers, or `labels` are of several kinds.

    See Also
    --------
    sklearn.metrics.adjusted_mutual_info_score : The same measure of two partitions.

    Notes
    -----
    Let ``I`` be the mutual information of prefix and label, ``E`` its expected value
    over random partitions with the same cluster sizes, and ``H`` the arithmetic mean of
    the two entropies. The result is ``(I - E) / (H - E)`` [1]_. Without the correction
    for chance, longer prefixes would always score higher.

    Values equal those of ``sklearn.metrics.adjusted_mutual_info_score``. Its time grows
    with the number of prefixes times the number of labels. Here, time grows with the
    numbers of *different cluster sizes*, at most ``sqrt(2 * n_items)`` each, plus one
    sort per level.

    References
    ----------
    .. [1] N. X. Vinh, J. Epps and J. Bailey. Information Theoretic Measures for
       Clusterings Comparison: Variants, Properties, Normalization and Correction for
       Chance. JMLR 11, 2010.

    Examples
    --------
    >>> from sk_rqvae.metrics import prefix_label_agreement
    >>> codes = [[0, 0], [0, 1], [0, 0], [1, 0], [1, 1], [1, 0]]
    >>> labels = ["bird", "bird", "bird", "tool", "tool", "tool"]
    >>> prefix_label_agreement(codes, labels).round(3)
    array([1.   , 0.466])
    """
    checked = check_item_codes(codes)
    given = check_labels(labels, len(checked))
    _, label = np.unique(given, return_inverse=True)
    agreement = []
    for depth in range(1, checked.shape[1] + 1):
        _, prefix = np.unique(row_keys(checked[:, :depth]), return_inverse=True)
        agreement.append(adjusted_mutual_information(label, prefix))
    return np.array(agreement)
