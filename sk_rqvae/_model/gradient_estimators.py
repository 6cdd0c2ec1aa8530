"""Gradient estimators: how the encoder learns through a choice of code.

A code is chosen by comparing distances, which has no useful gradient. Each mode here is
one answer to what is passed back instead. All see a residual, the vectors of a codebook
and what was chosen: the vector of one code, or the sum over neighbouring levels.

To add a mode, write one function with the signature of `straight_through` and add one
line to `QuantizeForwardMode` in `modes.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sk_rqvae._defaults import MIN_GUMBEL_TEMPERATURE

_SMALLEST_NORM = 1e-6


def straight_through(
    residual: Tensor,
    chosen: Tensor,
    codebook: Tensor,
    temperature: Tensor,
    generator: torch.Generator | None = None,
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
    generator : torch.Generator, optional
        Draws what an estimator draws; None is torch's global generator.

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
    residual: Tensor,
    chosen: Tensor,
    codebook: Tensor,
    temperature: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Rotate and rescale the residual onto its code, and hold the rotation constant.

    With :math:`\hat e, \hat q` the unit vectors of residual and code and
    :math:`\hat r = (\hat e + \hat q) / \lVert \hat e + \hat q \rVert`,

    .. math:: q = \frac{\lVert q \rVert}{\lVert e \rVert}
        (I - 2 \hat r \hat r^\top + 2 \hat q \hat e^\top)\, e .

    A residual without length has no direction to rotate: its Jacobian is the identity.

    References
    ----------
    Fifty et al. (2024), arXiv:2410.06424, section 4.2.
    """
    turned: Tensor = _Turned.apply(residual, chosen)  # type: ignore[no-untyped-call]
    return turned


class _Turned(torch.autograd.Function):
    """The code, with the matrix of the rotation trick as its Jacobian.

    Written out, since it takes fewer operations than a recorded derivative.
    """

    @staticmethod
    def forward(ctx: Any, residual: Tensor, chosen: Tensor) -> Tensor:
        ctx.save_for_backward(residual, chosen)
        return chosen.view_as(chosen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        residual, chosen = ctx.saved_tensors
        unit_residual, norm = _unit(residual)
        unit_chosen, norm_chosen = _unit(chosen)
        middle, _ = _unit(unit_residual + unit_chosen)
        along_middle = (gradient * middle).sum(-1, keepdim=True)
        along_chosen = (gradient * unit_chosen).sum(-1, keepdim=True)
        turned = torch.addcmul(gradient, along_middle, middle, value=-2)
        turned.addcmul_(along_chosen, unit_residual, value=2).mul_(norm_chosen / norm)
        return torch.where(norm > _SMALLEST_NORM, turned, gradient), None


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors divided by their norms, and these, a column; zero vectors stay so."""
    norms = vectors.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
    return vectors / norms, norms


def gumbel_softmax(
    residual: Tensor,
    chosen: Tensor,
    codebook: Tensor,
    temperature: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Mix all codes with weights drawn from a Gumbel-Softmax distribution.

    The logits are :math:`-\lVert e - c_j \rVert^2 / 2 \sigma^2`, the posterior of a
    Gaussian around each code whose variance :math:`\sigma^2` is the mean squared
    distance, per dimension, of the batch to the chosen codes. As the temperature falls
    the mixture becomes the nearest code, which is what encoding uses. A single code
    passes no gradient to the residual, so that a straight-through gradient takes its
    place as the temperature falls: of the weight that the temperature lacks of 1.

    References
    ----------
    Jang, Gu and Poole (2017), arXiv:1611.01144; Maddison, Mnih and Teh (2017),
    arXiv:1611.00712.
    """
    with torch.no_grad():
        tempered = temperature.clamp_min(MIN_GUMBEL_TEMPERATURE)
        smallest = torch.finfo(residual.dtype).tiny
        width = (F.mse_loss(residual, chosen) * tempered).clamp_min(smallest)
        # Of an exponential time, minus the logarithm is Gumbel noise. On a CPU,
        # `exponential_` takes four times as long.
        shares = residual.new_empty(len(residual), len(codebook))
        log_times = (
            shares.uniform_(smallest, 1, generator=generator).log_().neg_().log_()
        )
    mixture: Tensor = _Mixture.apply(  # type: ignore[no-untyped-call]
        residual, codebook, width, log_times, temperature
    )
    return mixture


class _Mixture(torch.autograd.Function):
    r"""Codes mixed with weights proportional to their kernel over their times.

    Written out, with a derivative that takes half as many operations as recorded ones.
    For weights :math:`w` and the gradient :math:`g` of the mixture :math:`m`, logits
    :math:`-\lVert e - c_j \rVert^2 / 2 \omega` receive
    :math:`w_j\, g \cdot (c_j - m)`, which sums to zero over the codes. As much
    of :math:`g` as the temperature lacks of 1 goes to the residual as it is.
    """

    @staticmethod
    def forward(
        ctx: Any,
        residual: Tensor,
        codebook: Tensor,
        width: Tensor,
        log_times: Tensor,
        temperature: Tensor,
    ) -> Tensor:
        lengths = codebook.square().sum(1)
        nearness = torch.addmm(lengths, residual, codebook.T, beta=-0.5)
        # Else a small width would make more than one weight infinite.
        nearness.sub_(nearness.amax(1, keepdim=True))
        weights = torch.softmax(nearness.div_(width).sub_(log_times), dim=1)
        mixture = weights @ codebook
        ctx.save_for_backward(residual, codebook, weights, mixture)
        ctx.constants = width, temperature
        return mixture

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        residual, codebook, weights, mixture = ctx.saved_tensors
        width, temperature = ctx.constants
        along_mixture = (gradient * mixture).sum(1, keepdim=True)
        slopes = torch.addmm(along_mixture, gradient, codebook.T, beta=-1)
        slopes.mul_(weights).div_(width)
        by_code = slopes.T
        of_codebook = torch.addmm(weights.T @ gradient, by_code, residual)
        of_codebook.addcmul_(by_code.sum(1, keepdim=True), codebook, value=-1)
        straight = torch.addcmul(gradient, gradient, temperature, value=-1)
        of_residual = torch.addmm(straight, slopes, codebook)
        return of_residual, of_codebook, None, None, None
