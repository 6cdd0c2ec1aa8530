"""Give the rows a model was trained on different IDs."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sk_rqvae._inference.blocks import equal_blocks
from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._model.id_prices import PriceList, id_keys, no_prices
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import ProgressCallback, no_progress
from sk_rqvae._training.auction import auction

SEPARATION_STEPS = 2

_MOST_ROWS = 5_000_000


def price_shared_ids(
    module: RQVAEModule,
    X: Matrix,
    on_progress: ProgressCallback = no_progress,
    *,
    max_error: float = math.inf,
) -> PriceList:
    """Prices at which the rows of `X` that share an ID choose different ones.

    Parameters
    ----------
    module : RQVAEModule
        Trained; its own price list plays no part.
    X : ndarray of shape (n, n_features)
        Rows in the user's units. Beyond `_MOST_ROWS` no prices are sought: the
        candidates of all rows are held in memory, some 270 bytes a row.
    on_progress : ProgressCallback, default=no_progress
        Told of shares of the two halves, candidates and auction, each 1 in all.
    max_error : float, default=inf
        Mean error of the rows' latents under the prices, in what it is without, above
        which there are none.

    Returns
    -------
    PriceList
    """
    device = module.input_mean.device
    n_beams = module.candidates(module.standardize(_first_row(X, device)))[1].shape[1]
    if n_beams == 1 or len(X) > _MOST_ROWS:
        return no_prices(device)

    keys, costs = _candidates(module, X, n_beams, on_progress)
    return auction(keys, costs, on_progress, max_error=max_error)


@torch.no_grad()
def _candidates(
    module: RQVAEModule, X: Matrix, n_beams: int, on_progress: ProgressCallback
) -> tuple[Tensor, Tensor]:
    """Keys and costs of the IDs that each row could have."""
    device = module.input_mean.device
    keys = torch.empty(len(X), n_beams, dtype=torch.int64, device=device)
    # The model computes errors in this precision; more would only take memory.
    costs = torch.empty(len(X), n_beams, dtype=torch.float32, device=device)
    for part, block in equal_blocks(X, device):
        codes, errors = module.candidates(module.standardize(block.double()))
        n_rows = part.stop - part.start
        keys[part] = id_keys(codes[:n_rows])
        costs[part] = errors[:n_rows]
        on_progress(n_rows / len(X))
    return keys, costs


@torch.no_grad()
def _first_row(X: Matrix, device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(X[:1], dtype=np.float64)).to(device)
