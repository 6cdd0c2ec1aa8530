"""Give the rows a model was trained on different IDs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._auction import PriceList, auction, id_keys, no_prices
from sk_rqvae._blocks import map_rows
from sk_rqvae._module import RQVAEModule

_MOST_ROWS = 5_000_000


def price_shared_ids(module: RQVAEModule, X: NDArray[Any]) -> PriceList:
    """Prices at which the rows of `X` that share an ID choose different ones.

    Parameters
    ----------
    module : RQVAEModule
        Trained; its own price list plays no part.
    X : ndarray of shape (n, n_features)
        Rows in the user's units. Beyond `_MOST_ROWS` no prices are sought, as all
        candidates of all rows are held in memory.

    Returns
    -------
    PriceList
    """
    device = module.input_mean.device
    n_beams = module.candidates(module.standardize(_first_row(X, device)))[1].shape[1]
    if n_beams == 1 or len(X) > _MOST_ROWS:
        return no_prices(device)

    def keys_and_costs(block: Tensor) -> Tensor:
        codes, costs = module.candidates(module.standardize(block.double()))
        # One integer matrix for both: the bits of the costs, not their values.
        return torch.cat([id_keys(codes), costs.view(torch.int64)], dim=1)

    bits = map_rows(
        keys_and_costs, X, np.empty((len(X), 2 * n_beams), dtype=np.int64), device
    )
    keys = torch.from_numpy(bits[:, :n_beams].copy()).to(device)
    costs = torch.from_numpy(bits[:, n_beams:].copy()).to(device).view(torch.float64)
    return auction(keys, costs)


@torch.no_grad()
def _first_row(X: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(X[:1], dtype=np.float64)).to(device)
