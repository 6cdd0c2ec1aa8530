"""Whether prefixes of the IDs agree with labels that people gave."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d

from sk_rqvae._checks.codes import row_keys
from sk_rqvae.metrics._checks import check_item_codes, check_same_length
from sk_rqvae.metrics._mutual_information import adjusted_mutual_information


def prefix_label_agreement(codes: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Compare each prefix of the IDs with given labels, by adjusted mutual information.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code a layer.
    labels : array-like of shape (n_items,)
        One label an item: numbers or strings, such as categories.

    Returns
    -------
    ndarray of shape (n_layers,)
        Agreement of the labels with the first code, the first two codes, and so on: 1
        where prefix and label determine each other, about 0 where they agree no
        better than chance.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `labels` has
        another length or holds NaN.
    TypeError
        If `codes` is not of whole numbers.

    See Also
    --------
    sklearn.metrics.adjusted_mutual_info_score : The same measure of two partitions.

    Notes
    -----
    Mutual information less its mean over random partitions of the same sizes, over
    the arithmetic mean of the two entropies less the same [1]_. Without that
    adjustment, long prefixes would always look better, as they are many.

    Values are those of ``sklearn.metrics.adjusted_mutual_info_score``, whose time
    grows with the number of prefixes times that of labels. Here it grows with the
    number of *different sizes* of either, at most ``sqrt(2 * n_items)``, beside one
    sort a layer.

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
    given = column_or_1d(labels)
    check_same_length(len(given), len(checked), name="labels")
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise ValueError("labels must not hold NaN. Leave those items out.")
    _, label = np.unique(given, return_inverse=True)
    agreement = []
    for depth in range(1, checked.shape[1] + 1):
        _, prefix = np.unique(row_keys(checked[:, :depth]), return_inverse=True)
        agreement.append(adjusted_mutual_information(label, prefix))
    return np.array(agreement)
