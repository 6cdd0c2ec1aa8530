"""Initialise the input noise of training in the shape of the quantisation error."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae._model.module import RQVAEModule


@torch.no_grad()
def initialize_noise(
    module: RQVAEModule,
    residual_covariance: Tensor,
    *,
    scale: Tensor,
    unexplained: Tensor,
    isotropic: bool,
) -> None:
    """Set the noise that training adds to the encoder's input.

    Where there are linear paths, the noise has the covariance of the quantisation
    error, mapped to the input. Without them it is white noise of the same power.

    Parameters
    ----------
    module : RQVAEModule
        Changed in place.
    residual_covariance : Tensor of shape (embed_dim, embed_dim)
        Mean outer product of the latents' residuals.
    scale : Tensor of shape ()
        Standard deviation of the noise, in residuals.
    unexplained : Tensor of shape ()
        Share of the latents' variance that the residuals have.
    isotropic : bool
        Give the noise the power of the residuals, equal in all directions.
    """
    if module.decoder.linear is None:
        module.noise_scale.copy_(scale * unexplained.sqrt())
        return
    shape = (
        _isotropic_root(residual_covariance)
        if isotropic
        else _root(residual_covariance)
    )
    module.noise_axes.copy_(shape @ module.decoder.linear.weight.T)
    module.noise_scale.copy_(scale)


def _root(covariance: Tensor) -> Tensor:
    """A matrix that maps white noise, in rows, to noise of this covariance."""
    variances, axes = torch.linalg.eigh(covariance.double())
    root = variances.clamp_min(0).sqrt().unsqueeze(1) * axes.T
    return root.to(covariance.dtype)


def _isotropic_root(covariance: Tensor) -> Tensor:
    """Likewise, for noise of the same total power, equal in all directions.

    Residuals of random codebooks look like the rows themselves. Noise of that shape
    would hide from the encoder the directions that the codes must distinguish first.
    """
    dim = len(covariance)
    identity = torch.eye(dim, device=covariance.device)
    return identity * (covariance.trace() / dim).sqrt()
