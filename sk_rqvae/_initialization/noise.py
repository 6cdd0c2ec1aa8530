"""Initialise the input noise of training, as large as the quantisation error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sk_rqvae._model.module import RQVAEModule


@torch.no_grad()
def initialize_noise(
    module: RQVAEModule, *, scale: Tensor, residual_power: Tensor, unexplained: Tensor
) -> None:
    """Set the noise that training adds to the encoder's input.

    Where there are linear paths, it is white noise of the latents, mapped to the input.
    Without them it is white noise of the input.

    Parameters
    ----------
    module : RQVAEModule
        Changed in place.
    scale : Tensor of shape ()
        Norm of the noise over that of the residuals.
    residual_power : Tensor of shape ()
        Mean squared norm of the residuals of the latents.
    unexplained : Tensor of shape ()
        Share of the latents' variance that the residuals have.
    """
    if module.decoder.linear is None:
        module.noise_scale.copy_(scale * unexplained.sqrt())
        return
    axes = module.decoder.linear.weight.T
    module.noise_axes.copy_(axes * residual_power.sqrt() / math.sqrt(len(axes)))
    module.noise_scale.copy_(scale)
