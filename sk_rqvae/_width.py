"""How wide latents should be where that is left to the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WIDEST = 1024
_MOST_SPARED = 0.5
_SMALLEST_VARIANCE = 1e-12


def widest(n_features: int) -> int:
    """The width of latents that leave out no direction, within reason."""
    return min(n_features, _WIDEST)


def suitable_width(
    variances: NDArray[np.float64], sizes: Sequence[int], n_rows: int
) -> int:
    r"""How many principal components are worth quantising.

    Parameters
    ----------
    variances : ndarray of shape (n_features,)
        Of the principal components of the rows, in any order.
    sizes : sequence of int
        Codes a level.
    n_rows : int
        Rows that are fitted.

    Returns
    -------
    int
        At least 1 and at most `n_features` and 1024.

    Notes
    -----
    What codes tell of directions of little variance they learn by heart: of fitted rows
    it is right, of unseen ones noise. Let :math:`g = \exp(2 \sum_l K_l / n)` be how
    many times larger squared residuals of unseen rows are expected to be than those of
    fitted ones, and :math:`D` the share of the variance that ideal codes of as many
    bits would leave of Gaussian rows. Fitted rows then keep about :math:`u = D / g`
    unexplained. Of the components of which ideal codes tell nothing those of least
    variance are left out, up to a share of :math:`\min(g - 1, 1/2)\, u^{3/2}` of all:
    none where there are so few rows for the codes that all can be learned by heart, and
    few where codes tell nearly everything, since what is left out would then be most of
    what remains.
    """
    spectrum = np.sort(variances)[::-1].clip(min=0)
    if spectrum[0] <= 0:
        return widest(len(spectrum))
    spectrum = spectrum / spectrum.sum()
    growth = 2 * sum(sizes) / n_rows
    n_bits = sum(math.log2(size) for size in sizes)
    level = water_level(spectrum, n_bits)
    unexplained = np.minimum(spectrum, level).sum() * math.exp(-growth)
    spared = min(math.expm1(min(growth, 1)), _MOST_SPARED) * unexplained**1.5
    left_out = spectrum[::-1].cumsum()[::-1] <= max(spared, _SMALLEST_VARIANCE)
    return min(int(((spectrum >= level) | ~left_out).sum()), _WIDEST)


def water_level(spectrum: NDArray[np.float64], n_bits: float) -> float:
    """Largest error that a component is left with by ideal codes of a Gaussian.

    Parameters
    ----------
    spectrum : ndarray of shape (n,)
        Variances of independent components, falling, the first positive.
    n_bits : float
        Bits for one point of all components.

    Returns
    -------
    float
        Components of more variance get bits until they are at this level, those of less
        get none (reverse water-filling).

    References
    ----------
    Cover and Thomas (2006), "Elements of Information Theory", theorem 10.3.3.
    """
    logs = np.log2(spectrum[spectrum > 0])
    levels = (logs.cumsum() - 2 * n_bits) / np.arange(1, len(logs) + 1)
    # The first component is above its own level, whatever the rounding.
    last = np.flatnonzero(levels <= logs).max(initial=0)
    return float(min(2 ** levels[last], spectrum[last]))
