"""A trained module applied to all rows of a matrix.

Rows in an array give results in arrays; rows in a tensor give tensors on its device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._inference.blocks import (
    Results,
    equal_blocks,
    fill,
    map_rows,
    new_results,
    rows_of_a_block,
)
from sk_rqvae._inference.in_threads import map_in_threads, number_of_threads
from sk_rqvae._inference.row_subset import ArrayOrTensor, Matrix
from sk_rqvae._model.assignment import PreparedAssignment
from sk_rqvae._model.beam_search import Beams, SearchMemory
from sk_rqvae._model.code_names import names_of
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import ProgressCallback, no_progress
from sk_rqvae._torch_settings import usual_torch_settings

FloatArray = NDArray[np.float64]
Item = TypeVar("Item")
# Maps candidate IDs and their costs to what is wanted of them.
OfCandidates = Callable[[Tensor, Tensor], Sequence[Tensor]]

# Blocks of 256 rows. With 8 of them, `transform` of 384 columns took 1.12 times as long
# on one thread; with 32 it took as long, and more memory.
_BLOCKS_OF_A_GROUP = 16
# A bound of memory, for the groups of all threads: with 1024 columns they took 222 MiB.
_BLOCKS_OF_THREADS = 32


def of_candidates(
    function: OfCandidates,
    module: RQVAEModule,
    rows: Matrix,
    prepared: PreparedAssignment,
) -> Results:
    """A function of the candidate IDs of checked rows, in groups of blocks.

    Products have one shape, see `equal_blocks`. The blocks of a group are decoded
    together where that is faster.

    Parameters
    ----------
    function : callable
        Takes codes ``(n, n_candidates, n_layers)``, int64, and costs without prices
        ``(n, n_candidates)``, float64. Called in several threads.
    module : RQVAEModule
    rows : ndarray, Tensor or RowSubset of shape (n_rows, n_features)
    prepared : PreparedAssignment

    Yields
    ------
    part : slice
        The `n` rows of a group.
    results : sequence of Tensor
    """
    device = module.input_mean.device
    size = rows_of_a_block(device)
    decoder = prepared.decoder
    together = decoder is not None and decoder.groups_by_expert

    def of_group(
        group: list[tuple[slice, Tensor]],
    ) -> tuple[slice, Sequence[Tensor]]:
        part = slice(group[0][0].start, group[-1][0].stop)
        n_rows = part.stop - part.start
        x = torch.cat([module.standardize(block) for _, block in group])
        memory = SearchMemory()
        found = [module.find(block, prepared, memory) for block in x.split(size)]
        del memory
        codes, errors = map(torch.cat, zip(*found, strict=True))
        if together:  # the padding need not be decoded
            all_found = Beams(codes[:n_rows], errors[:n_rows])
            costs = module.costs(x[:n_rows], all_found, prepared)
        else:
            costs_of_blocks = [
                module.costs(block, of_block, prepared)
                for block, of_block in zip(x.split(size), found, strict=True)
            ]
            costs = torch.cat(costs_of_blocks)[:n_rows]
        return part, function(codes[:n_rows], costs)

    n_blocks = _blocks_of_a_group(len(rows), device)
    groups = _groups(equal_blocks(rows, device), n_blocks)
    return map_in_threads(of_group, groups, device)


def _blocks_of_a_group(n_rows: int, device: torch.device) -> int:
    """As many as are fast on a CPU, but few enough for all threads to have a group.

    A power of two, so that powers of two above the rows of a group are multiples of
    them.
    """
    if device.type != "cpu":
        return 1
    n_blocks = min(-(-n_rows // rows_of_a_block(device)), _BLOCKS_OF_THREADS)
    most = max(1, min(_BLOCKS_OF_A_GROUP, n_blocks // number_of_threads(device)))
    return 1 << (most.bit_length() - 1)


def _groups(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive items in lists of `size`; the last may be shorter."""
    while group := list(islice(items, size)):
        yield group


@usual_torch_settings()
def assign_rows(
    module: RQVAEModule,
    rows: ArrayOrTensor,
    on_progress: ProgressCallback = no_progress,
) -> Any:
    """Names of the codes of checked rows, ``(n, n_layers)``."""
    # Made outside of inference mode, so that users can compute gradients with them.
    ids = new_results(rows, len(rows), len(module.quantizer.sizes), dtype="int64")

    names = names_of(module)

    def chosen(codes: Tensor, costs: Tensor) -> list[Tensor]:
        return [names.named(module.cheapest(codes, costs))]

    with torch.inference_mode():
        results = of_candidates(chosen, module, rows, module.prepare(keep_tables=True))
        fill([ids], results, on_progress)
    return ids


@usual_torch_settings()
def reconstruct_codes(
    module: RQVAEModule,
    codes: ArrayOrTensor,
    on_progress: ProgressCallback = no_progress,
) -> Any:
    """Reconstructions from names of codes, or of prefixes, in the users' units."""
    names = names_of(module)
    return map_rows(
        lambda block: module.restore(module.reconstruct(names.placed(block))),
        codes,
        new_results(codes, len(codes), module.n_features, dtype="float64"),
        module.input_mean.device,
        on_progress,
    )


@usual_torch_settings()
def best_candidates(
    module: RQVAEModule,
    rows: ArrayOrTensor,
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
        Their names.
    costs : ndarray or Tensor of shape (n, k), float64
        In ascending order; prices included.
    """
    n_layers = len(module.quantizer.sizes)
    codes = new_results(rows, len(rows), k, n_layers, dtype="int64")
    costs = new_results(rows, len(rows), k, dtype="float64")
    names = names_of(module)

    def best(codes: Tensor, costs: Tensor) -> list[Tensor]:
        costs, order = module.priced(codes, costs).sort(dim=1, stable=True)
        order = order[:, :k].unsqueeze(2).expand(-1, -1, codes.shape[2])
        return [names.named(codes.gather(1, order)), costs[:, :k]]

    with torch.inference_mode():
        prepared = module.prepare(k, keep_tables=True, decode_single=True)
        results = of_candidates(best, module, rows, prepared)
        fill([codes, costs], results, on_progress)
    return codes, costs


@usual_torch_settings()
def distances_to_next_codes(
    module: RQVAEModule, rows: FloatArray, prefix: IntArray
) -> FloatArray:
    """Squared latent distances to each prefix extended by each next code.

    Parameters
    ----------
    module : RQVAEModule
    rows : ndarray of shape (n, n_features), float64
    prefix : ndarray of shape (n, depth), int64
        Names of codes.

    Returns
    -------
    ndarray of shape (n, codebook_size)
        In the order of the names.
    """
    width, depth = rows.shape[1], prefix.shape[1]
    names = names_of(module)

    def distances(block: torch.Tensor) -> torch.Tensor:
        x = module.standardize(block[:, :width])
        found = module.next_code_distances(x, names.placed(block[:, width:].long()))
        return names.in_order(found, depth, dim=1)

    # One matrix, as `map_rows` takes one. Codes are exact in float64.
    found: FloatArray = map_rows(
        distances,
        np.concatenate([rows, prefix], axis=1),
        np.empty((len(rows), module.quantizer.sizes[depth])),
        module.input_mean.device,
    )
    return found
