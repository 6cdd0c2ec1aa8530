"""An encoder trained with a view dropped, to compare with filling it in."""

from __future__ import annotations

import torch
from torch import Tensor

from sk_rqvae import RQVAETransformer
from sk_rqvae._model.module import RQVAEModule

DROPPED_SHARE = 0.5


class DroppedViews(RQVAEModule):
    """Half of the rows are encoded without the last columns, but decoded with them.

    A dropped view is zero, as `BlockScaler` with ``fill="mean"`` gives it.
    """

    n_kept: int

    def _add_noise(self, x: Tensor) -> Tensor:
        noisy = super()._add_noise(x)
        if not self.training:
            return noisy
        kept = noisy.clone()
        kept[torch.rand(len(x)) < DROPPED_SHARE, self.n_kept :] = 0
        return kept


def with_dropped_views(model: RQVAETransformer, n_kept: int) -> RQVAETransformer:
    """Train `model` with all but the first columns dropped.

    Reconstructions contain what was dropped, so that ranking candidates by them would
    compare it with zeros.
    """
    module = type("DroppedViews", (DroppedViews,), {"n_kept": n_kept})
    return model.set_params(module=module, rerank=False)
