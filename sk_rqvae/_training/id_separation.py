"""Separate IDs: find prices at which fitted rows that share an ID choose others."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.blocks import blocks, on_device
from sk_rqvae._inference.module_on_rows import of_candidates
from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._model.assignment import PreparedAssignment
from sk_rqvae._model.id_prices import PriceList, id_keys, look_up, no_prices
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import ProgressCallback, no_progress
from sk_rqvae._training.auction import auction
from sk_rqvae._training.id_discounts import discounts_for_lighter_rows

SEPARATION_STEPS = 2

_MAX_ROWS = 5_000_000
# Ten keys each are 42 MB: memory of that size goes back to the system when it is freed.
# A power of two, and so a multiple of the rows that `of_candidates` gives at once.
_ROWS_OF_KEYS = 2**19


def price_shared_ids(
    module: RQVAEModule,
    X: Matrix,
    on_progress: ProgressCallback = no_progress,
    *,
    max_error: float = math.inf,
    weights: NDArray[np.float64] | None = None,
) -> PriceList:
    """Prices at which the rows of `X` that share an ID choose different ones.

    Parameters
    ----------
    module : RQVAEModule
        Trained. Its own prices are ignored.
    X : ndarray, Tensor or RowSubset of shape (n, n_features)
        Rows in the user's units.
    on_progress : ProgressCallback
        Called during the two stages, candidates and auction; each adds up to 1.
    max_error : float, default=inf
        Largest total cost of the chosen candidates, relative to that without prices;
        see `auction`.
    weights : ndarray of shape (n,), default=None
        Positive. If two rows want one ID, the heavier keeps it where the other has an
        offer (see `discounts_for_lighter_rows`). The auction moves the other rows, and
        the rows of equal weights.

    Returns
    -------
    PriceList
        Empty if IDs have one candidate only, or if there are more than five million
        rows.

    Warns
    -----
    UserWarning
        If there are more than five million rows. The candidates of all rows are held
        in memory: about 15 bytes for each, and with weights over twice as many.
    """
    device = module.input_mean.device
    with torch.no_grad():
        prepared = module.prepare()
        first_row = module.standardize(on_device(X[:1], device))
        n_candidates = module.find(first_row, prepared).codes.shape[1]
    if n_candidates == 1:
        return no_prices(device)
    if len(X) > _MAX_ROWS:
        warnings.warn(
            f"IDs are not separated: separate_ids takes at most {_MAX_ROWS} rows. Got "
            f"{len(X)}. Set separate_ids=False, or fit on a sample of the rows.",
            UserWarning,
            stacklevel=2,
        )
        return no_prices(device)
    keys, costs = _candidates(module, X, prepared, n_candidates, on_progress)
    del prepared  # its tables take memory
    # One row an ID, or where there are more rows than IDs, their fair share.
    capacity = -(-len(X) // math.prod(module.quantizer.sizes))
    if weights is None:
        return auction(keys, costs, on_progress, capacity=capacity, max_error=max_error)
    costs = costs.double()  # as `assign` adds prices
    relative = torch.from_numpy(weights / weights.max()).to(device)
    discounts, error = discounts_for_lighter_rows(
        torch.cat(keys), costs, relative / relative.mean(), max_error=max_error
    )
    for part, block in zip(keys, costs.split([*map(len, keys)]), strict=True):
        block += look_up(discounts, part)
    max_error = max(1.0, 1 + max_error - error)
    prices = auction(keys, costs, on_progress, capacity=capacity, max_error=max_error)
    return _sum(discounts, prices)


@torch.no_grad()
def _candidates(
    module: RQVAEModule,
    X: Matrix,
    prepared: PreparedAssignment,
    n_candidates: int,
    on_progress: ProgressCallback,
) -> tuple[list[Tensor], Tensor]:
    """Keys of the candidate IDs of each row, in blocks, and their costs."""
    device = module.input_mean.device
    # The model computes errors in float32, so float64 would only take memory.
    costs = torch.empty(len(X), n_candidates, dtype=torch.float32, device=device)
    keys = [
        torch.empty(
            part.stop - part.start, n_candidates, dtype=torch.int64, device=device
        )
        for part in blocks(len(X), _ROWS_OF_KEYS)
    ]

    def keys_and_costs(codes: Tensor, errors: Tensor) -> list[Tensor]:
        return [id_keys(codes), errors]

    for part, (of_part, errors) in of_candidates(keys_and_costs, module, X, prepared):
        block, start = divmod(part.start, _ROWS_OF_KEYS)
        keys[block][start : start + len(of_part)] = of_part
        costs[part] = errors
        on_progress(len(of_part) / len(X))
    return keys, costs


def _sum(one: PriceList, other: PriceList) -> PriceList:
    """A price list with the sums of the prices of both."""
    keys, index = torch.unique(torch.cat([one.keys, other.keys]), return_inverse=True)
    prices = torch.zeros(len(keys), dtype=torch.float64, device=keys.device)
    return PriceList(
        keys, prices.index_add_(0, index, torch.cat([one.prices, other.prices]))
    )
