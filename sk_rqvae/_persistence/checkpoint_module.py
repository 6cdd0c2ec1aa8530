"""The model of RQ-VAE-Recommender and genrec, for their checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sk_rqvae._model.assignment import PreparedAssignment
from sk_rqvae._model.beam_search import Beams, SearchMemory
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._model.products import matmul


class CheckpointModule(RQVAEModule):
    """A `RQVAEModule` that computes what those projects' models compute.

    Its MLPs have no biases. With `codebook_normalize`, latents and the codes of the
    first level alone have unit length, and there are no gains.

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
        for layer in [*self.encoder.modules(), *self.decoder.modules()]:
            if isinstance(layer, nn.Linear):
                layer.register_parameter("bias", None)

    def decode(self, latents: Tensor) -> Tensor:
        """Reconstruction of latents; binary columns are logits."""
        return self.decoder(latents)

    def find(
        self,
        x: Tensor,
        prepared: PreparedAssignment,
        memory: SearchMemory | None = None,
    ) -> Beams:
        """Candidate IDs of rows, with one beam as those projects choose them.

        Which of two codes is chosen that are nearly as near depends on the order of the
        operations. With one beam it is the order of those projects.
        """
        if prepared.search.n_beams > 1:
            return super().find(x, prepared, memory)
        codes, residual = self._greedy(x)
        errors = residual.square().sum(1, keepdim=True)
        return Beams(codes.unsqueeze(1), errors)

    def _greedy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code at each level, and the residual after the last one."""
        residual = self.encode(x)
        codes = []
        for codebook in self.quantizer.codebooks():
            squares = residual.square().sum(1, keepdim=True)
            lengths = codebook.T.square().sum(0, keepdim=True)
            distances = squares + lengths - matmul(2 * residual, codebook.T)
            code = distances.argmin(1)
            residual = residual - codebook[code]
            codes.append(code)
        return torch.stack(codes, dim=1), residual
