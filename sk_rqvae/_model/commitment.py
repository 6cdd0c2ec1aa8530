"""Commitment losses: what keeps latents near the codes that were chosen for them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def squared_commitment(latents: Tensor, chosen: Tensor) -> Tensor:
    """Mean squared distance of latents to what was chosen, a dimension."""
    return F.mse_loss(latents, chosen)


def angular_commitment(latents: Tensor, chosen: Tensor) -> Tensor:
    r"""As much of the squared distance as turning a latent, not stretching it, removes.

    With :math:`\theta` the angle between them, the mean of
    :math:`2 \lVert z \rVert \lVert q \rVert (1 - \cos \theta)`, a dimension, with the
    lengths held constant. The rotation trick returns the gradient of a squared error at
    a right angle to the latent where a code is the mean of its latents, so nothing
    would hold against the shortening of latents by a squared distance: with that they
    shrank until the codes collapsed, and without any they drifted from their codes.
    """
    lengths = latents.detach().norm(dim=1) * chosen.norm(dim=1)
    cosines = F.cosine_similarity(latents, chosen, dim=1)
    return 2 * (lengths * (1 - cosines)).mean() / latents.shape[1]
