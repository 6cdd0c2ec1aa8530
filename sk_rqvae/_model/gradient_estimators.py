"""Gradient estimators: how gradients pass through the choice of a code.

The nearest code is piecewise constant in the residual, so its derivative is zero or
undefined. Each estimator defines what the backward pass uses instead. All of them take
a residual, the chosen vector (of one code, or the sum over neighbouring levels), the
codebook, a temperature and a generator.

To add a mode, write a function with the signature of `straight_through` and add one
line to `QuantizeForwardMode` in `modes.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_MIN_NORM = 1e-6
# Stands in for zero, by which the logits cannot be divided. Not measured on its own.
_MIN_TEMPERATURE = 0.02


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
        What the level quantises.
    chosen : Tensor of shape (n, dim)
        The code vector chosen for each row.
    codebook : Tensor of shape (codebook_size, dim)
        All code vectors of the level.
    temperature : Tensor of shape ()
        Falls from 1 to 0 over the first half of a fit. Only `gumbel_softmax` uses it.
    generator : torch.Generator, default=None
        Draws the random numbers, if there are any; None is torch's global one.

    Returns
    -------
    Tensor of shape (n, dim)
        Equal to `chosen`. Its Jacobian with respect to `residual` is the identity.

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
    r"""Pass the gradient through the rotation and scaling that map residual to code.

    Parameters and returned values are those of `straight_through`, except for the
    Jacobian.

    Notes
    -----
    Let :math:`e` be the residual, :math:`q` its code, :math:`\hat e` and
    :math:`\hat q` these vectors divided by their norms, and
    :math:`\hat r = (\hat e + \hat q) / \lVert \hat e + \hat q \rVert`. The code is a
    rotated and scaled residual:

    .. math:: q = \frac{\lVert q \rVert}{\lVert e \rVert}
        (I - 2 \hat r \hat r^\top + 2 \hat q \hat e^\top)\, e .

    The Jacobian is this matrix, held constant. For a residual of zero norm, which has
    no direction, it is the identity.

    References
    ----------
    Fifty et al. (2024), arXiv:2410.06424, section 4.2.
    """
    rotated: Tensor = _Rotation.apply(residual, chosen)  # type: ignore[no-untyped-call]
    return rotated


class _Rotation(torch.autograd.Function):
    """The chosen code, with the matrix of the rotation trick as its Jacobian.

    The explicit backward pass needs fewer operations than autograd's.
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
        unit_chosen, chosen_norm = _unit(chosen)
        bisector, _ = _unit(unit_residual + unit_chosen)
        along_bisector = (gradient * bisector).sum(-1, keepdim=True)
        along_chosen = (gradient * unit_chosen).sum(-1, keepdim=True)
        rotated = torch.addcmul(gradient, along_bisector, bisector, value=-2)
        rotated.addcmul_(along_chosen, unit_residual, value=2).mul_(chosen_norm / norm)
        return torch.where(norm > _MIN_NORM, rotated, gradient), None


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors and norms, ``(n, 1)``; a zero vector stays zero."""
    norms = vectors.norm(dim=-1, keepdim=True).clamp_min(_MIN_NORM)
    return vectors / norms, norms


def gumbel_softmax(
    residual: Tensor,
    chosen: Tensor,
    codebook: Tensor,
    temperature: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Replace the chosen code by a random convex combination of all codes.

    1. Compute the logits: minus the squared distances to the codes, divided by a
       variance and by the temperature.
    2. Add Gumbel noise.
    3. Average the codes, weighted by the softmax of these values.

    As the temperature falls, the average approaches the nearest code.

    Parameters and shapes are those of `straight_through`.

    Notes
    -----
    Let :math:`e` be the residual, :math:`c_j` the codes, :math:`\tau` the temperature
    and :math:`\sigma^2` the mean squared error per dimension between the batch and its
    chosen codes. With independent standard Gumbel samples :math:`g_j`, the result is

    .. math:: \sum_j w_j c_j, \quad w = \mathrm{softmax}_j \left(
        -\frac{\lVert e - c_j \rVert^2}{2 \sigma^2 \tau} + g_j \right) .

    The variance makes the logits those of a posterior over Gaussian components. Since
    the distances and not the noise are divided by :math:`\tau`, the noise becomes
    negligible as :math:`\tau` falls.

    The gradient of the softmax also vanishes as :math:`\tau` falls, so a
    straight-through gradient with weight :math:`1 - \tau` is added to it.

    References
    ----------
    Jang, Gu and Poole (2017), arXiv:1611.01144; Maddison, Mnih and Teh (2017),
    arXiv:1611.00712.
    """
    with torch.no_grad():
        tau = temperature.clamp_min(_MIN_TEMPERATURE)
        tiny = torch.finfo(residual.dtype).tiny
        variance = (F.mse_loss(residual, chosen) * tau).clamp_min(tiny)
        # A Gumbel sample is -log(-log(u)) with u uniform. Drawing -log(u) by
        # `exponential_` would be slower on a CPU.
        uniform = residual.new_empty(len(residual), len(codebook))
        negative_noise = (
            uniform.uniform_(tiny, 1, generator=generator).log_().neg_().log_()
        )
    mixture: Tensor = _Mixture.apply(  # type: ignore[no-untyped-call]
        residual, codebook, variance, negative_noise, temperature
    )
    return mixture


class _Mixture(torch.autograd.Function):
    r"""The average of the codes in `gumbel_softmax`, with an explicit backward pass.

    It needs about half as many operations as autograd's.

    Let :math:`e` be the residual, :math:`c_j` the codes, :math:`w` the weights,
    :math:`m = \sum_j w_j c_j` the result, :math:`g` its gradient, :math:`\omega` the
    argument `variance` (:math:`\sigma^2 \tau`) and :math:`\tau` the temperature. The
    gradient of logit :math:`j`, :math:`-\lVert e - c_j \rVert^2 / 2 \omega`, is
    :math:`w_j\, g \cdot (c_j - m)`. These gradients sum to zero, so the terms in
    :math:`e` cancel from the gradient of the residual, which is

    .. math:: \frac1\omega \sum_j w_j\, (g \cdot (c_j - m))\, c_j
        + (1 - \tau)\, g .
    """

    @staticmethod
    def forward(
        ctx: Any,
        residual: Tensor,
        codebook: Tensor,
        variance: Tensor,
        negative_noise: Tensor,
        temperature: Tensor,
    ) -> Tensor:
        squared_norms = codebook.square().sum(1)
        transposed = codebook.T
        logits = torch.addmm(squared_norms, residual, transposed, beta=-0.5)
        # Before the division: by a tiny variance, several logits could become infinite.
        logits.sub_(logits.amax(1, keepdim=True))
        logits.div_(variance).sub_(negative_noise)
        weights = torch.softmax(logits, dim=1)
        mixture = weights @ codebook
        ctx.save_for_backward(residual, codebook, transposed, weights, mixture)
        ctx.constants = variance, temperature
        return mixture

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        residual, codebook, transposed, weights, mixture = ctx.saved_tensors
        variance, temperature = ctx.constants
        along_mixture = (gradient * mixture).sum(1, keepdim=True)
        by_logit = torch.addmm(along_mixture, gradient, transposed, beta=-1)
        by_logit.mul_(weights).div_(variance)
        by_code = by_logit.T
        of_codebook = torch.addmm(weights.T @ gradient, by_code, residual)
        of_codebook.addcmul_(by_code.sum(1, keepdim=True), codebook, value=-1)
        straight_through = torch.addcmul(gradient, gradient, temperature, value=-1)
        of_residual = torch.addmm(straight_through, by_logit, codebook)
        return of_residual, of_codebook, None, None, None
