"""The papers' autoencoder: MLPs with a quantizer between them.

It is what the RQ-VAEs of the literature share: hidden layers of 512, 256 and 128, a
latent of 32 dimensions and AdamW at 1e-3 on batches of 1024.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from _contract import Codes, Matrix, Quantizer, Task
from _scaling import Scaling

HIDDEN_DIMS = (512, 256, 128)
LATENT_DIM = 32
BATCH_SIZE = 1024
LEARNING_RATE = 1e-3
EPOCHS = 60


class LatentQuantizer(nn.Module, ABC):
    """The part that methods differ in."""

    decodes_prefixes: bool

    @abstractmethod
    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder gets, codes ``(n, n_layers)`` and the quantizer's loss.

        The first call in training sees the first batch, to start codebooks from.
        """

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Latents of codes."""


class Autoencoder(nn.Module):
    def __init__(self, n_features: int, quantizer: LatentQuantizer) -> None:
        super().__init__()
        widths = (n_features, *HIDDEN_DIMS, LATENT_DIM)
        self.encoder = mlp(widths)
        self.quantizer = quantizer
        self.decoder = mlp(widths[::-1])

    def loss(self, x: Tensor) -> Tensor:
        passed, _, quantizer_loss = self.quantizer(self.encoder(x))
        return F.mse_loss(self.decoder(passed), x) + quantizer_loss


def mlp(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        linear = nn.Linear(n_in, n_out)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def fit_autoencoder(
    X: Matrix,
    task: Task,
    quantizer: LatentQuantizer,
    *,
    scaled: bool,
    epochs: int = EPOCHS,
) -> Quantizer:
    """Train an autoencoder around `quantizer`; seed torch before making that.

    The scale of the rows weighs their reconstruction against the quantizer's loss.
    `scaled` centres them and divides by one standard deviation.
    """
    scaling = Scaling.of(X) if scaled else Scaling.none(X)
    model = Autoencoder(X.shape[1], quantizer)
    _train(model, torch.from_numpy(scaling.apply(X)), task.epochs(epochs), task)

    @torch.no_grad()
    def encode(rows: Matrix) -> Codes:
        latents = model.encoder(torch.from_numpy(scaling.apply(rows)))
        codes: Codes = model.quantizer(latents)[1].numpy()
        return codes

    @torch.no_grad()
    def decode(codes: Codes) -> Matrix:
        decoded = model.decoder(model.quantizer.decode(torch.from_numpy(codes)))
        return scaling.undo(decoded.numpy().astype(np.float32))

    return Quantizer(encode, decode, quantizer.decodes_prefixes)


def _train(model: Autoencoder, rows: Tensor, epochs: int, task: Task) -> None:
    # Codebooks start from clusters of the first batch: it must have a row a code.
    batch_size = max(BATCH_SIZE, task.n_codes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(batch_size):
            optimizer.zero_grad()
            model.loss(batch).backward()
            optimizer.step()
    model.eval()
