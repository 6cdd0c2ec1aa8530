r"""The plan of a fit: every quantity that is derived from the data.

Throughout, ``unexplained`` is the share of the variance, in [0, 1], that the initial
codebooks leave unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._defaults import (
    EPOCHS_OF_ONE_ROW,
    EQUAL_NOISE_SHARE,
    MAX_STRUCTURE_DISCARDED,
    WEIGHT_DECAY_OF_ONE_STEP,
)
from sk_rqvae._initialization.gaussianity import explained_beyond_gaussian
from sk_rqvae._initialization.latent_width import max_width, water_level
from sk_rqvae._initialization.pca import principal_components

# Bounds of time and memory. With 60 000 rows, `fit` takes 1.15 times as long with 128
# experts, and leaves 0.99 of the error of fitted rows and as much of unseen ones.
# The others were not measured on their own.
_MAX_EXPERTS = 64
_MAX_EPOCHS = 150
_MAX_ROWS_TESTED = 2**14
# Unexplained share of variance that is not trained. Not measured on its own.
_NEGLIGIBLE_RESIDUAL = 1e-4
_MAX_LOG_GROWTH = 0.5
_SMALLEST_VARIANCE = 1e-12


def growth_of_unseen_residuals(sizes: Sequence[int], n_rows: int) -> float:
    r"""Expected norm of the residuals of unseen rows over that of fitted rows.

    A centre that averages :math:`m` fitted rows lies nearer to each of them. That
    divides their squared residuals by about :math:`1 + 1/m` and multiplies those of
    unseen rows by as much. Over all levels this compounds to
    :math:`\exp(2 \sum_l K_l / n)`, in squares, clipped at :math:`e`.

    Parameters
    ----------
    sizes : sequence of int
        Codes of each level, :math:`K_l`.
    n_rows : int
        Fitted rows, :math:`n`.

    Returns
    -------
    float
        The square root of that ratio, in [1, 1.65].
    """
    return math.exp(min(_MAX_LOG_GROWTH, sum(sizes) / n_rows))


def noise_factor(unexplained: Tensor) -> Tensor:
    """Factor on the parameter `noise` that depends on the initial codebooks.

    In low dimensions, noise of the size of the residual changes the nearest code; in
    high dimensions it rarely does. A low unexplained share is the sign of few
    dimensions. Where it is high, training would mostly memorise rows, and more noise
    prevents that.

    Parameters
    ----------
    unexplained : Tensor of shape ()

    Returns
    -------
    Tensor of shape ()
        In [0, 1.42]; 1 where `EQUAL_NOISE_SHARE` is unexplained.
    """
    return (unexplained / EQUAL_NOISE_SHARE).sqrt()


def is_nearly_exact(unexplained: float) -> bool:
    """Whether so little is unexplained that training could only raise the error."""
    return unexplained < _NEGLIGIBLE_RESIDUAL


def number_of_epochs(n_rows: int) -> int:
    """Epochs of a complete fit: inversely proportional to the root of the rows.

    More rows then take more steps in all, but fewer for each row.
    """
    return min(math.ceil(EPOCHS_OF_ONE_ROW / math.sqrt(n_rows)), _MAX_EPOCHS)


def size_of_batches(n_rows: int, most: int) -> int:
    """Rows of each batch of an epoch, at most `most`; the last can have fewer.

    Batches of `most` rows could leave few for the last, which makes a full step too.
    """
    return math.ceil(n_rows / math.ceil(n_rows / most))


def usual_weight_decay(n_steps: int) -> float:
    """Weight decay of a fit of so many steps: it falls with their square root.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization",
    arXiv:1711.05101, appendix B.1.
    """
    return WEIGHT_DECAY_OF_ONE_STEP / math.sqrt(n_steps)


def number_of_experts(n_rows: int | None, width: int) -> int:
    """Experts of the decoder, each with at least as many rows as hidden units.

    With fewer rows than hidden units, an expert could fit each of its rows exactly.

    Parameters
    ----------
    n_rows : int or None
        Fitted rows. None is an unknown number.
    width : int
        Hidden units of each expert.

    Returns
    -------
    int
        In [1, 64].
    """
    if n_rows is None:
        return _MAX_EXPERTS
    return min(max(n_rows // width, 1), _MAX_EXPERTS)


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
    growth = 2 * sum(sizes) / n_rows
    n_bits = sum(math.log2(size) for size in sizes)
    level = water_level(spectrum, n_bits)
    unexplained = np.minimum(spectrum, level).sum() * math.exp(-growth)
    share = min(math.expm1(min(growth, 1)), 1.0) * unexplained
    discardable = spectrum[::-1].cumsum()[::-1] <= max(share, _SMALLEST_VARIANCE)
    return max_width(int(((spectrum >= level) | ~discardable).sum()))
