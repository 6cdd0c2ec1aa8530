"""A trained module applied to all rows of a matrix.

Rows in an array give results in arrays; rows in a tensor give tensors on its device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._inference.blocks import equal_blocks, fill, map_rows, new_results
from sk_rqvae._inference.row_subset import Block
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import ProgressCallback, no_progress

FloatArray = NDArray[np.float64]


def level_sizes(module: RQVAEModule) -> list[int]:
    """Codes of each level."""
    return list(module.quantizer.sizes)


def assign_rows(
    module: RQVAEModule,
    rows: Block,
    on_progress: ProgressCallback = no_progress,
) -> Any:
    """Codes of checked rows, ``(n, n_layers)``."""
    prepared = module.prepare_search()
    return map_rows(
        lambda block: module.assign(module.standardize(block), prepared),
        rows,
        new_results(rows, len(rows), len(module.quantizer.sizes), dtype="int64"),
        module.input_mean.device,
        on_progress,
    )


def reconstruct_codes(
    module: RQVAEModule,
    codes: Block,
    on_progress: ProgressCallback = no_progress,
) -> Any:
    """Reconstructions from checked codes or prefixes, in the users' units."""
    return map_rows(
        lambda block: module.restore(module.reconstruct(block)),
        codes,
        new_results(codes, len(codes), module.n_features, dtype="float64"),
        module.input_mean.device,
        on_progress,
    )


def best_candidates(
    module: RQVAEModule,
    rows: Block,
    k: int,
    on_progress: ProgressCallback = no_progress,
) -> tuple[Any, Any]:
    """The `k` candidates of lowest cost for each row, and these costs.

    Parameters
    ----------
    module : RQVAEModule
    rows : ndarray or Tensor of shape (n, n_features)
        Checked rows.
    k : int
        At most the number of IDs that the model has.
    on_progress : ProgressCallback
        Called with the number of rows of each block.

    Returns
    -------
    codes : ndarray or Tensor of shape (n, k, n_layers), int64
    costs : ndarray or Tensor of shape (n, k), float64
        In ascending order; prices included.
    """
    # Made outside of inference mode, so that users can compute gradients with them.
    n_layers = len(module.quantizer.sizes)
    codes = new_results(rows, len(rows), k, n_layers, dtype="int64")
    costs = new_results(rows, len(rows), k, dtype="float64")
    with torch.inference_mode():
        prepared = module.prepare_search(k)
        for part, block in equal_blocks(rows, module.input_mean.device):
            found, cost = module.candidates(module.standardize(block), prepared)
            cost = module.priced(found, cost)
            cost, order = cost.sort(dim=1, stable=True)
            order = order[:, :k].unsqueeze(2).expand(-1, -1, found.shape[2])
            n_rows = part.stop - part.start
            fill(codes, part, found.gather(1, order)[:n_rows])
            fill(costs, part, cost[:n_rows, :k])
            on_progress(n_rows)
    return codes, costs


def distances_to_next_codes(
    module: RQVAEModule, rows: FloatArray, prefix: IntArray
) -> FloatArray:
    """Squared latent distances to each prefix extended by each next code.

    Parameters
    ----------
    module : RQVAEModule
    rows : ndarray of shape (n, n_features), float64
    prefix : ndarray of shape (n, depth), int64

    Returns
    -------
    ndarray of shape (n, codebook_size)
    """
    width = rows.shape[1]

    def distances(block: torch.Tensor) -> torch.Tensor:
        x = module.standardize(block[:, :width])
        return module.next_code_distances(x, block[:, width:].long())

    size = module.quantizer.sizes[prefix.shape[1]]
    found: FloatArray = map_rows(
        distances,
        np.concatenate([rows, prefix], axis=1),
        np.empty((len(rows), size)),
        module.input_mean.device,
    )
    return found
