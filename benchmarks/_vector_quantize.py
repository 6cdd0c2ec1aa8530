"""The residual quantizer of vector-quantize-pytorch inside the papers' autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from _autoencoder import LATENT_DIM, LatentQuantizer, fit_autoencoder
from _contract import Matrix, Quantizer, Task

_RARELY_USED = 2


class VectorQuantizeStack(LatentQuantizer):
    """Its ResidualVQ with k-means on the first batch and dead codes replaced.

    Codebooks follow moving averages, its default. It decodes prefixes only if trained
    with quantizer dropout.
    """

    decodes_prefixes = False

    def __init__(self, n_layers: int, n_codes: int, *, rotation_trick: bool) -> None:
        from vector_quantize_pytorch import ResidualVQ

        super().__init__()
        self.stack = ResidualVQ(
            dim=LATENT_DIM,
            num_quantizers=n_layers,
            codebook_size=n_codes,
            kmeans_init=True,
            threshold_ema_dead_code=_RARELY_USED,
            rotation_trick=rotation_trick,
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        passed, codes, losses = self.stack(latents)
        return passed, codes, losses.mean()

    def decode(self, codes: Tensor) -> Tensor:
        latents: Tensor = self.stack.get_output_from_indices(codes)
        return latents


def fit_vector_quantize(X: Matrix, task: Task, *, rotation_trick: bool) -> Quantizer:
    """Fit on scaled rows: of unit length, they do worse as they are."""
    torch.manual_seed(task.seed)
    stack = VectorQuantizeStack(
        task.n_layers, task.n_codes, rotation_trick=rotation_trick
    )
    return fit_autoencoder(X, task, stack, scaled=True)
