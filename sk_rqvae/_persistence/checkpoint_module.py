"""The model of RQ-VAE-Recommender and genrec, for their checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sk_rqvae._model.beam_search import PreparedBeamSearch
from sk_rqvae._model.module import RQVAEModule


class CheckpointModule(RQVAEModule):
    """A `RQVAEModule` that computes what those projects' models compute.

    Its MLPs have no biases. With `codebook_normalize` latents and the codes of
    the first level, but of no other, have unit length, and there are no gains.

    Parameters
    ----------
    n_features : int
        Columns of a row.
    **arguments
        As in `RQVAEModule`; `linear_path` must be False.
    """

    def __init__(self, n_features: int, **arguments: Any) -> None:
        if arguments["linear_path"]:
            raise ValueError("linear_path must be False for a CheckpointModule.")
        on_sphere = arguments["codebook_normalize"]
        super().__init__(n_features, **arguments | {"codebook_normalize": False})
        self.codebook_normalize = on_sphere
        self.quantizer.levels[0].normalize = on_sphere
        for layer in [*self.encoder.mlp, *self.decoder.mlp]:
            if isinstance(layer, nn.Linear):
                layer.register_parameter("bias", None)

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction of latents; the decoder gives binary columns as logits."""
        return self.decoder(latents)

    def candidates(
        self, x: Tensor, prepared: PreparedBeamSearch | None = None
    ) -> tuple[Tensor, Tensor]:
        """IDs that rows could have and their errors, as `RQVAEModule.candidates`.

        Where two codes are nearly as near, the order of operations decides which one it
        is: one beam is computed from residuals, as those models do.
        """
        if self.quantizer.n_beams > 1:
            return super().candidates(x, prepared)
        residual = self.encode(x)
        codes = []
        for codebook in self.quantizer.codebooks():
            lengths = codebook.T.square().sum(0, keepdim=True)
            distances = residual.square().sum(1, keepdim=True) + lengths
            code = (distances - 2 * residual @ codebook.T).argmin(1)
            residual = residual - codebook[code]
            codes.append(code)
        errors = residual.square().sum(1, keepdim=True)
        return torch.stack(codes, dim=1).unsqueeze(1), errors.double()
