"""Measure how many codes of each level are used, and how evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import layer_sizes
from sk_rqvae.metrics._checks import check_item_codes

FloatArray = NDArray[np.float64]


def codebook_usage(codes: ArrayLike, codebook_size: int | Sequence[int]) -> FloatArray:
    """Share of the codes of each level that at least one item has.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    codebook_size : int or sequence of int
        Codebook size: one number for all levels, or one per level.

    Returns
    -------
    ndarray of shape (n_layers,)
        Between 0 and 1. It cannot exceed ``n_items / codebook_size``.

    Raises
    ------
    ValueError
        If there are no items, or a code is fractional, negative or too large.
    TypeError
        If `codes` or `codebook_size` does not hold integers.

    See Also
    --------
    codebook_perplexity : Also accounts for codes with very few items.

    References
    ----------
    .. [1] J. Yu et al. Vector-quantized Image Modeling with Improved VQGAN. ICLR
       2022. arXiv:2110.04627.

    Examples
    --------
    >>> from sk_rqvae.metrics import codebook_usage
    >>> codebook_usage([[0, 0], [1, 0], [2, 1]], codebook_size=4)
    array([0.75, 0.5 ])
    """
    return np.array(
        [
            np.count_nonzero(count) / count.size
            for count in code_counts(codes, codebook_size)
        ]
    )


def codebook_entropy(
    codes: ArrayLike, codebook_size: int | Sequence[int]
) -> FloatArray:
    """Shannon entropy of the codes of each level, in bits.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    codebook_size : int or sequence of int
        Codebook size: one number for all levels, or one per level.

    Returns
    -------
    ndarray of shape (n_layers,)
        Between 0 (one code has all items) and ``log2(codebook_size)`` (all codes have
        equally many).

    Raises
    ------
    ValueError
        If there are no items, or a code is fractional, negative or too large.
    TypeError
        If `codes` or `codebook_size` does not hold integers.

    Notes
    -----
    ``H = -sum(p * log2(p))``, where `p` holds the share of the items of each code. This
    plug-in estimate is biased low if there are few items per code.

    References
    ----------
    .. [1] C. E. Shannon. A Mathematical Theory of Communication. Bell System
       Technical Journal 27, 1948.

    Examples
    --------
    >>> from sk_rqvae.metrics import codebook_entropy
    >>> codebook_entropy([[0, 0], [1, 0], [2, 1], [3, 1]], codebook_size=4)
    array([2., 1.])
    """
    return np.array(
        [_entropy_bits(count) for count in code_counts(codes, codebook_size)]
    )


def codebook_perplexity(
    codes: ArrayLike, codebook_size: int | Sequence[int]
) -> FloatArray:
    """Effective number of used codes of each level, two to the power of the entropy.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    codebook_size : int or sequence of int
        Codebook size: one number for all levels, or one per level.

    Returns
    -------
    ndarray of shape (n_layers,)
        Between 1 (one code has all items) and `codebook_size` (all codes have equally
        many).

    Raises
    ------
    ValueError
        If there are no items, or a code is fractional, negative or too large.
    TypeError
        If `codes` or `codebook_size` does not hold integers.

    See Also
    --------
    codebook_entropy : The logarithm of the perplexity to base 2.

    References
    ----------
    .. [1] F. Jelinek, R. L. Mercer, L. R. Bahl and J. K. Baker. Perplexity: a measure
       of the difficulty of speech recognition tasks. Journal of the Acoustical Society
       of America 62, 1977.
    .. [2] A. van den Oord, O. Vinyals and K. Kavukcuoglu. Neural Discrete
       Representation Learning. NeurIPS 2017. arXiv:1711.00937. (VQ-VAE.)

    Examples
    --------
    >>> from sk_rqvae.metrics import codebook_perplexity
    >>> codebook_perplexity([[0, 0], [1, 0], [2, 1], [3, 1]], codebook_size=4)
    array([4., 2.])
    """
    return np.exp2(codebook_entropy(codes, codebook_size))


def codebook_gini(codes: ArrayLike, codebook_size: int | Sequence[int]) -> FloatArray:
    """Gini coefficient of the item counts of the codes, by level.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    codebook_size : int or sequence of int
        Codebook size: one number for all levels, or one per level.

    Returns
    -------
    ndarray of shape (n_layers,)
        Between 0 (all codes have equally many items) and ``1 - 1 / codebook_size`` (one
        code has all items). Codes without items are included.

    Raises
    ------
    ValueError
        If there are no items, or a code is fractional, negative or too large.
    TypeError
        If `codes` or `codebook_size` does not hold integers.

    Notes
    -----
    For `K` counts in ascending order, ``c[1] <= ... <= c[K]``, the coefficient is
    ``sum((2 * i - K - 1) * c[i]) / (K * sum(c))``. It is half the mean absolute
    difference of two counts, divided by the mean count [1]_. FORGE [2]_ computes it
    over full IDs to rank semantic IDs without training a recommender.

    References
    ----------
    .. [1] C. Damgaard and J. Weiner. Describing inequality in plant size or
       fecundity. Ecology 81, 2000.
    .. [2] K. Fu et al. FORGE: Forming Semantic Identifiers for Generative Retrieval
       in Industrial Datasets. 2025. arXiv:2509.20904.

    Examples
    --------
    >>> from sk_rqvae.metrics import codebook_gini
    >>> codebook_gini([[0, 0], [1, 0], [2, 0], [3, 0]], codebook_size=4)
    array([0.  , 0.75])
    """
    return np.array([_gini(count) for count in code_counts(codes, codebook_size)])


def code_counts(
    codes: ArrayLike, codebook_size: int | Sequence[int]
) -> list[NDArray[np.intp]]:
    """For each level, how many items have each code."""
    checked = check_item_codes(codes, codebook_size)
    sizes = layer_sizes(codebook_size, checked.shape[1])
    return [
        np.bincount(column, minlength=size)
        for column, size in zip(checked.T, sizes, strict=True)
    ]


def _entropy_bits(count: NDArray[np.intp]) -> float:
    share = count[count > 0] / count.sum()
    # The sum over a single code is -0.0, hence `max`.
    return max(0.0, float(-(share * np.log2(share)).sum()))


def _gini(count: NDArray[np.intp]) -> float:
    ascending = np.sort(count)
    size = count.size
    rank = 2 * np.arange(1, size + 1) - size - 1
    return float((rank * ascending).sum() / (size * ascending.sum()))
