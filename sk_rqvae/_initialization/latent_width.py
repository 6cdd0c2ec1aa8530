"""The width of latents, by reverse water-filling of the principal components."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._defaults import MAX_STRUCTURE_DISCARDED
from sk_rqvae._initialization.gaussianity import explained_beyond_gaussian
from sk_rqvae._initialization.pca import principal_components

_MAX_WIDTH = 1024
_MAX_ROWS_TESTED = 2**14  # a bound of time
# Share of the variance that counts as none: above the rounding of float64.
_SMALLEST_VARIANCE = 1e-12


def latent_width(
    sample: Tensor, sizes: Sequence[int], n_rows: int, generator: torch.Generator
) -> int:
    """Width of the latents where `embed_dim` is None and they are principal components.

    Components of low variance are discarded as `gaussian_width` says, which assumes
    Gaussian components. k-means tests that assumption: of sparse or clustered
    components codes can explain much, however low their variance, so all are kept.

    Parameters
    ----------
    sample : Tensor of shape (m, n_features)
        Standardised rows.
    sizes : sequence of int
        Codes of each level.
    n_rows : int
        Rows that will be fitted.
    generator : torch.Generator

    Returns
    -------
    int
        At least 1 and at most `n_features` and 1024.
    """
    full_width = max_width(sample.shape[1])
    variances, axes = principal_components(sample)
    width = gaussian_width(variances.cpu().numpy(), sizes, n_rows)
    if width == full_width:
        return full_width
    order = torch.randperm(len(sample), device=sample.device, generator=generator)
    discarded = sample[order[:_MAX_ROWS_TESTED]] @ axes[width:].T
    share = variances[width:].sum() / variances.sum()
    structure = explained_beyond_gaussian(discarded, max(sizes), generator)
    structure *= float(share)
    return full_width if structure > MAX_STRUCTURE_DISCARDED else width


def gaussian_width(
    variances: NDArray[np.float64], sizes: Sequence[int], n_rows: int
) -> int:
    r"""Number of principal components to keep, assuming that they are Gaussian.

    Parameters
    ----------
    variances : ndarray of shape (n_features,)
        Of the principal components of the rows, in any order.
    sizes : sequence of int
        Codes of each level.
    n_rows : int
        Rows that will be fitted.

    Returns
    -------
    int
        At least 1 and at most `n_features` and 1024.

    Notes
    -----
    Codes overfit components of low variance: what they encode of fitted rows is noise
    for unseen rows. Let

    - :math:`g = \exp(2 \sum_l K_l / n)` be the expected ratio of the squared residuals
      of unseen and fitted rows (see `growth_of_unseen_residuals`),
    - :math:`D` be the share of variance that ideal codes of as many bits leave
      unexplained, by reverse water-filling (see `water_level`), and
    - :math:`u = D / g` be the share that fitted rows then have unexplained.

    Overfitting then adds :math:`(g - 1) u` to the error of unseen rows. Components
    below the water level are discarded, those of least variance first, up to that share
    of all variance, and at most up to :math:`u`.
    """
    spectrum = np.sort(variances)[::-1].clip(min=0)
    if spectrum[0] <= 0:
        return max_width(len(spectrum))
    spectrum = spectrum / spectrum.sum()
    log_growth = 2 * sum(sizes) / n_rows
    n_bits = sum(math.log2(size) for size in sizes)
    level = water_level(spectrum, n_bits)
    unexplained = np.minimum(spectrum, level).sum() * math.exp(-log_growth)
    # At most all that is unexplained. expm1 exceeds 1 from log 2 on, so the bound of 1
    # only keeps it from overflowing.
    share = min(math.expm1(min(log_growth, 1)), 1.0) * unexplained
    discardable = spectrum[::-1].cumsum()[::-1] <= max(share, _SMALLEST_VARIANCE)
    return max_width(int(((spectrum >= level) | ~discardable).sum()))


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
