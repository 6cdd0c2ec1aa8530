"""Apply a model to rows in blocks of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._progress import ProgressCallback, no_progress

_ROWS_ON_CPU = 256
_ROWS_ON_CUDA = 2048
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))


def blocks(n_rows: int, size: int) -> Iterator[slice]:
    """Consecutive slices of `size` rows; the last may be shorter."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def equal_blocks(rows: Matrix, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Split rows into blocks of equal shape on `device`; pad the last one.

    Math libraries choose kernels by the shape of a matrix, and kernels round
    differently. That can change which of two almost equally near codes is chosen. With
    equal shapes, the result of a row does not depend on the rows passed with it. The
    last block is padded by repeating its last row.

    Parameters
    ----------
    rows : ndarray or RowSubset of shape (n, ...)
    device : torch.device

    Yields
    ------
    part : slice
        The rows in this block.
    block : Tensor of shape (block size, ...)
        These rows, then the padding.
    """
    size = _ROWS_ON_CUDA if device.type == "cuda" else _ROWS_ON_CPU
    for part in blocks(len(rows), size):
        block = narrow(rows[part])
        n_padded = size - len(block)
        if n_padded:
            block = np.concatenate([block, np.repeat(block[-1:], n_padded, axis=0)])
        yield part, torch.from_numpy(block).to(device)


@torch.inference_mode()
def map_rows(
    function: Callable[[Tensor], Tensor],
    rows: NDArray[Any],
    out: NDArray[Any],
    device: torch.device,
    on_progress: ProgressCallback = no_progress,
) -> NDArray[Any]:
    """Fill `out` with `function` of the rows, block by block (see `equal_blocks`).

    Parameters
    ----------
    function : callable
        Maps a block on `device` to a tensor with the same number of rows.
    rows : ndarray of shape (n, ...)
    out : ndarray of shape (n, ...)
    device : torch.device
    on_progress : ProgressCallback, default=no_progress
        Called with the number of rows of each block.

    Returns
    -------
    ndarray
        `out`.
    """
    for part, block in equal_blocks(rows, device):
        n_rows = part.stop - part.start
        out[part] = function(block)[:n_rows].cpu().numpy()
        on_progress(n_rows)
    return out


def narrow(rows: NDArray[Any]) -> NDArray[Any]:
    """A contiguous, writable copy in a dtype that torch supports."""
    dtype = rows.dtype if rows.dtype in _DTYPES else np.float64
    return np.array(rows, dtype=dtype, order="C")
