"""A plain RQ-VAE like that of LC-Rec (Zheng et al., ICDE 2024, arXiv:2311.09049)."""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F

from _autoencoder import EPOCHS, LATENT_DIM, LatentQuantizer, fit_autoencoder
from _contract import Matrix, Quantizer, Task

_COMMITMENT_WEIGHT = 0.25
_KMEANS_ITERATIONS = 100


class StraightThroughStack(LatentQuantizer):
    """Greedy levels with a codebook and a commitment loss each.

    Codebooks start from k-means on the residuals of the first batch, and gradients
    pass each level straight through.
    """

    decodes_prefixes = True

    def __init__(self, n_layers: int, n_codes: int, seed: int) -> None:
        super().__init__()
        empty = torch.zeros(n_layers, n_codes, LATENT_DIM)
        self.codebooks = nn.Parameter(empty)
        self.seed = seed
        self.started = False

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.started:
            self._start(latents.detach())
        left, total = latents, torch.zeros_like(latents)
        codes, losses = [], []
        for codebook in self.codebooks:
            code = torch.cdist(left.detach(), codebook.detach()).argmin(1)
            chosen = codebook[code]
            losses.append(
                F.mse_loss(chosen, left.detach())
                + _COMMITMENT_WEIGHT * F.mse_loss(left, chosen.detach())
            )
            passed = left + (chosen - left).detach()
            left, total = left - passed, total + passed
            codes.append(code)
        return total, torch.stack(codes, dim=1), torch.stack(losses).mean()

    def decode(self, codes: Tensor) -> Tensor:
        n_levels = codes.shape[1]
        chosen = [self.codebooks[level, codes[:, level]] for level in range(n_levels)]
        return torch.stack(chosen).sum(0)

    @torch.no_grad()
    def _start(self, latents: Tensor) -> None:
        left = latents.numpy().copy()
        for codebook in self.codebooks:
            kmeans = KMeans(
                len(codebook), max_iter=_KMEANS_ITERATIONS, random_state=self.seed
            ).fit(left)
            codebook.copy_(torch.from_numpy(kmeans.cluster_centers_))
            left -= kmeans.cluster_centers_[kmeans.labels_]
        self.started = True


def fit_lc_rec(X: Matrix, task: Task, *, epochs: int = EPOCHS) -> Quantizer:
    """Fit on rows as they are: of unit length, they do worse scaled."""
    torch.manual_seed(task.seed)
    stack = StraightThroughStack(task.n_layers, task.n_codes, task.seed)
    return fit_autoencoder(X, task, stack, scaled=False, epochs=epochs)
