"""Greedy residual quantisation: at each level, the code nearest to the residual."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.products import addmm
from sk_rqvae._model.row_minima import nearest

CodeBias = Callable[[Tensor], Tensor]
"""Maps the squared distances of a batch, ``(n, codebook_size)``, to one bias per code,
``(codebook_size,)``, which the search subtracts from the distances."""


def greedy_codes(
    latents: Tensor,
    all_vectors: Tensor,
    sizes: Sequence[int],
    biases: Sequence[CodeBias | None] | None = None,
) -> Tensor:
    """Choose the code nearest to the residual, level after level.

    Parameters
    ----------
    latents : Tensor of shape (n, dim)
    all_vectors : Tensor of shape (sum of sizes, dim)
        The vectors of all codebooks, concatenated.
    sizes : sequence of int
        Codes per level.
    biases : sequence of callable or None, optional
        One entry per level. A callable receives the squared distances of the residuals
        to the codes, up to a constant per row, and returns the bias of each code. None
        means no bias.

    Returns
    -------
    Tensor of shape (n, n_layers), int64
    """
    codebooks = all_vectors.split(list(sizes))
    squared_norms = all_vectors.square().sum(1).split(list(sizes))
    columns = all_vectors.T.split(list(sizes), dim=1)
    residual = latents
    codes: list[Tensor] = []
    for level, bias in enumerate(biases or [None] * len(codebooks)):
        if level:
            residual = residual - F.embedding(codes[-1], codebooks[level - 1])
        # Squared distances without the squared norm of the residual, which is the same
        # for all codes.
        distances = addmm(squared_norms[level], residual, columns[level], alpha=-2)
        if bias is not None:
            distances = distances - bias(distances)
        codes.append(nearest(distances))
    return torch.stack(codes, dim=1)
