"""Sinkhorn: prices that spread a batch evenly over the codes of a level."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._defaults import SINKHORN_EPSILON, SINKHORN_RELAXATIONS


def sinkhorn_prices(distances: Tensor) -> Tensor:
    r"""Price codes so that a batch spreads evenly over them.

    Solves entropic optimal transport from the rows to the codes, with equal mass on
    every code, by alternating updates in the log domain, a fixed number of them so that
    no step waits for the device. Taking the price off each distance makes popular codes
    dearer and idle codes cheaper.

    Parameters
    ----------
    distances : Tensor of shape (n, codebook_size)

    Returns
    -------
    Tensor of shape (codebook_size,)
        Prices in the units of `distances`, up to a constant. After them, the soft
        assignment's mass on a code is, as a rule, within 10% of 1 / `codebook_size`.

    Notes
    -----
    Near the solution an iteration multiplies errors by the eigenvalues of its
    derivative, which lie in :math:`[0, 1)`; relaxed by :math:`\omega`, eigenvalue
    :math:`\lambda` becomes :math:`1 - \omega (1 - \lambda)`. Plain iterations quench
    the small eigenvalues, and each relaxed one between them strikes out a large one,
    as in Richardson's method. Eleven iterations then leave masses about as even as
    thirty plain ones.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; used for semantic IDs by LC-Rec, arXiv:2311.09049.
    Over-relaxation: Thibault et al. (2021), arXiv:1711.01851.
    """
    further = distances - distances.amin(1, keepdim=True)
    largest = -torch.finfo(distances.dtype).tiny
    scale = (-SINKHORN_EPSILON * further.mean()).clamp_max(largest)
    log_plan = further / scale
    for relaxation in SINKHORN_RELAXATIONS:
        of_rows = torch.log_softmax(_balanced(log_plan), 1)
        log_plan = torch.lerp(of_rows, torch.log_softmax(of_rows, 0), relaxation)
    # What a row of the plan gained is the row's own constant plus the prices.
    return torch.addcmul(further[0], _balanced(log_plan)[0], scale, value=-1)


def _balanced(log_plan: Tensor) -> Tensor:
    """One iteration: equal mass on every row, then on every code."""
    return torch.log_softmax(torch.log_softmax(log_plan, 1), 0)
