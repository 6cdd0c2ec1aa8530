"""Gradient estimators: how the encoder learns through a choice of code.

A code is chosen by comparing distances, which has no useful gradient. Each mode here is
one answer to what is passed back instead. All see a residual, the vectors of a codebook
and what was chosen: the vector of one code, or the sum over neighbouring levels.

To add a mode, write one function with the signature of `straight_through` and add one
line to `QuantizeForwardMode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._distances import squared_distances

Estimator = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Prices = Callable[[Tensor], Tensor]

_SMALLEST_NORM = 1e-6
_LOWEST_TEMPERATURE = 0.02
_SINKHORN_EPSILON = 0.05
_SINKHORN_ITERATIONS = 30
_SINKHORN_ITERATIONS_FOR_FEW = 100
_FEW_CODES = 128


def straight_through(
    residual: Tensor, chosen: Tensor, codebook: Tensor, temperature: Tensor
) -> Tensor:
    """Pass the gradient of the chosen code to the residual unchanged.

    Parameters
    ----------
    residual : Tensor of shape (n, dim)
        What this level quantises.
    chosen : Tensor of shape (n, dim)
        The vector of each row's code.
    codebook : Tensor of shape (codebook_size, dim)
        All vectors of the level.
    temperature : Tensor of shape ()
        Falls from 1 to 0 in the course of training.

    Returns
    -------
    Tensor of shape (n, dim)
        Equal to `chosen`; its Jacobian with respect to `residual` is the identity.

    References
    ----------
    Bengio, Leonard and Courville (2013), arXiv:1308.3432.
    """
    return residual + (chosen - residual).detach()


def rotation_trick(
    residual: Tensor, chosen: Tensor, codebook: Tensor, temperature: Tensor
) -> Tensor:
    r"""Rotate and rescale the residual onto its code, and hold the rotation constant.

    With :math:`\hat e, \hat q` the unit vectors of residual and code and
    :math:`\hat r = (\hat e + \hat q) / \lVert \hat e + \hat q \rVert`,

    .. math:: q = \frac{\lVert q \rVert}{\lVert e \rVert}
        (I - 2 \hat r \hat r^\top + 2 \hat q \hat e^\top)\, e .

    A residual without length has no direction to rotate: its Jacobian is the identity.

    Where a code is the mean of its latents, the gradient of a squared error comes back
    at a right angle to the latent, so nothing holds against a commitment loss, which
    shortens latents. With one they shrank until the codes collapsed; levels of this
    mode therefore do without.

    References
    ----------
    Fifty et al. (2024), arXiv:2410.06424, section 4.2.
    """
    with torch.no_grad():
        norm = residual.norm(dim=-1, keepdim=True)
        has_direction = norm > _SMALLEST_NORM
        ratio = chosen.norm(dim=-1, keepdim=True) / norm.clamp_min(_SMALLEST_NORM)
        unit_residual = F.normalize(residual, dim=-1, eps=_SMALLEST_NORM)
        unit_chosen = F.normalize(chosen, dim=-1, eps=_SMALLEST_NORM)
        middle = F.normalize(unit_residual + unit_chosen, dim=-1, eps=_SMALLEST_NORM)
    reflected = 2 * (residual * middle).sum(-1, keepdim=True) * middle
    along = 2 * (residual * unit_residual).sum(-1, keepdim=True) * unit_chosen
    rotated = ratio * (residual - reflected + along)
    moved = torch.where(has_direction, rotated, residual)
    return moved + (chosen - moved).detach()


def gumbel_softmax(
    residual: Tensor, chosen: Tensor, codebook: Tensor, temperature: Tensor
) -> Tensor:
    r"""Mix all codes with weights drawn from a Gumbel-Softmax distribution.

    The logits are :math:`-\lVert e - c_j \rVert^2 / 2 \sigma^2`, the posterior of a
    Gaussian around each code whose variance :math:`\sigma^2` is the mean squared
    distance, per dimension, of the batch to the chosen codes. As the temperature falls
    the mixture becomes the nearest code, which is what encoding uses.

    References
    ----------
    Jang, Gu and Poole (2017), arXiv:1611.01144; Maddison, Mnih and Teh (2017),
    arXiv:1611.00712.
    """
    variance = (residual - chosen).detach().square().mean()
    smallest = torch.finfo(variance.dtype).tiny
    logits = squared_distances(residual, codebook) / (-2 * variance.clamp_min(smallest))
    noise = -torch.empty_like(logits).exponential_().log()
    tempered = temperature.clamp_min(_LOWEST_TEMPERATURE)
    weights = torch.softmax((logits + tempered * noise) / tempered, dim=-1)
    return weights @ codebook


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
        Prices in the units of `distances`. After them, the soft assignment's mass on a
        code is within 10% of 1 / `codebook_size`.

    References
    ----------
    Cuturi (2013), arXiv:1306.0895; used for semantic IDs by LC-Rec, arXiv:2311.09049.
    """
    n_rows, n_codes = distances.shape
    spread = (distances.mean(1) - distances.amin(1)).mean()
    epsilon = (_SINKHORN_EPSILON * spread).clamp_min(torch.finfo(spread.dtype).tiny)
    affinity = -(distances - distances.amin(1, keepdim=True)) / epsilon
    log_share = math.log(n_rows / n_codes)
    log_prices = torch.zeros(n_codes, device=distances.device, dtype=distances.dtype)
    few = n_codes < _FEW_CODES
    for _ in range(_SINKHORN_ITERATIONS_FOR_FEW if few else _SINKHORN_ITERATIONS):
        log_rows = torch.logsumexp(affinity + log_prices, dim=1, keepdim=True)
        log_prices = log_share - torch.logsumexp(affinity - log_rows, dim=0)
    return log_prices * epsilon


class Behaviour(NamedTuple):
    """What a mode does.

    Attributes
    ----------
    estimate : callable
        The gradient estimator.
    prices : callable or None
        From the distances of a batch to prices of the codes, while training.
    level_by_level : bool
        Estimate each level by itself, not the sum over neighbouring levels.
    commits : bool
        Whether latents of this mode are drawn to their codes by the commitment loss.
    """

    estimate: Estimator
    prices: Prices | None = None
    level_by_level: bool = False
    commits: bool = True


class QuantizeForwardMode(StrEnum):
    """The gradient estimators; each member equals its string.

    Examples
    --------
    >>> from sk_rqvae import QuantizeForwardMode
    >>> QuantizeForwardMode("ste") is QuantizeForwardMode.STE
    True
    >>> [mode.value for mode in QuantizeForwardMode]
    ['gumbel_softmax', 'ste', 'rotation_trick', 'sinkhorn']
    """

    behaviour: Behaviour

    def __new__(cls, value: str, behaviour: Behaviour) -> QuantizeForwardMode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.behaviour = behaviour
        return member

    GUMBEL_SOFTMAX = "gumbel_softmax", Behaviour(gumbel_softmax, level_by_level=True)
    STE = "ste", Behaviour(straight_through)
    ROTATION_TRICK = "rotation_trick", Behaviour(rotation_trick, commits=False)
    SINKHORN = "sinkhorn", Behaviour(straight_through, prices=sinkhorn_prices)
