"""Commitment losses: they keep latents close to the codes chosen for them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def squared_commitment(latents: Tensor, chosen: Tensor) -> Tensor:
    """The commitment loss of VQ-VAE: the mean squared error per dimension.

    Parameters
    ----------
    latents, chosen : Tensor of shape (n, dim)
        Each latent and the sum of the code vectors chosen for it.

    Returns
    -------
    Tensor of shape ()

    References
    ----------
    van den Oord, Vinyals and Kavukcuoglu (2017), arXiv:1711.00937, equation 3.
    """
    return F.mse_loss(latents, chosen)


def angular_commitment(latents: Tensor, chosen: Tensor) -> Tensor:
    r"""A cosine commitment loss: its gradient rotates latents and never rescales them.

    Parameters
    ----------
    latents, chosen : Tensor of shape (n, dim)
        Each latent and the sum of the code vectors chosen for it.

    Returns
    -------
    Tensor of shape ()

    Notes
    -----
    Let :math:`z` be a latent, :math:`q` its sum of code vectors and :math:`\theta` the
    angle between them. The squared error is

    .. math:: \lVert z - q \rVert^2 = (\lVert z \rVert - \lVert q \rVert)^2
        + 2 \lVert z \rVert \lVert q \rVert (1 - \cos \theta) .

    This loss is half of the second term, averaged over rows and divided by the
    dimension. The norms are treated as constants.

    It serves the rotation trick. If a code is the mean of its latents, the gradient
    that the rotation trick returns is orthogonal to the latent and cannot lengthen it.
    A squared commitment would then shrink the latents until the codebooks collapse.
    Without any commitment, latents drift away from their codes.
    """
    norms = latents.detach().norm(dim=1) * chosen.norm(dim=1)
    cosines = F.cosine_similarity(latents, chosen, dim=1)
    return (norms * (1 - cosines)).mean() / latents.shape[1]
