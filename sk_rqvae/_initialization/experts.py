"""Divide the latents among the experts of the decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._initialization.kmeans import kmeans, random_rows
from sk_rqvae._model.experts import Experts


@torch.no_grad()
def initialize_experts(
    experts: Experts | None, latents: Tensor, generator: torch.Generator
) -> None:
    """Set the centres of experts by k-means of the directions of latents.

    Distances between latents would give most experts to the outliers of heavy tails.

    Parameters
    ----------
    experts : Experts or None
        Changed in place, if there are any.
    latents : Tensor of shape (n, embed_dim)
    generator : torch.Generator
    """
    if experts is None:
        return
    directions = F.normalize(latents, dim=1)
    centres = kmeans(
        directions,
        random_rows(directions, len(experts.centres), generator),
        generator=generator,
    )
    experts.centres.copy_(F.normalize(centres, dim=1))
