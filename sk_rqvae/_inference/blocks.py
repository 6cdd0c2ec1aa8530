"""Apply a model to rows in blocks of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.row_subset import Block, Matrix
from sk_rqvae._progress import ProgressCallback, no_progress

_ROWS_ON_CPU = 256
_ROWS_ON_CUDA = 4096
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))
_TENSOR_DTYPES = (torch.float32, torch.float64, torch.int64)


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
    rows : ndarray, Tensor or RowSubset of shape (n, ...)
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
        block = on_device(rows[part], device)
        n_padded = size - len(block)
        if n_padded:
            padding = block[-1:].expand(n_padded, *block.shape[1:])
            block = torch.cat([block, padding])
        yield part, block


@torch.inference_mode()
def map_rows(
    function: Callable[[Tensor], Tensor],
    rows: Block,
    out: Any,
    device: torch.device,
    on_progress: ProgressCallback = no_progress,
) -> Any:
    """Fill `out` with `function` of the rows, block by block (see `equal_blocks`).

    Parameters
    ----------
    function : callable
        Maps a block on `device` to a tensor with the same number of rows.
    rows : ndarray or Tensor of shape (n, ...)
    out : ndarray or Tensor of shape (n, ...)
    device : torch.device
    on_progress : ProgressCallback, default=no_progress
        Called with the number of rows of each block.

    Returns
    -------
    ndarray or Tensor
        `out`.
    """
    for part, block in equal_blocks(rows, device):
        n_rows = part.stop - part.start
        fill(out, part, function(block)[:n_rows])
        on_progress(n_rows)
    return out


def narrow(rows: NDArray[Any]) -> NDArray[Any]:
    """A contiguous, writable copy in a dtype that torch supports."""
    dtype = rows.dtype if rows.dtype in _DTYPES else np.float64
    return np.array(rows, dtype=dtype, order="C")


def on_device(rows: Block, device: torch.device) -> Tensor:
    """A contiguous copy on `device` in a dtype that the model can standardise."""
    if not isinstance(rows, Tensor):
        return torch.from_numpy(narrow(rows)).to(device)
    dtype = rows.dtype if rows.dtype in _TENSOR_DTYPES else torch.float64
    return rows.to(device, dtype, copy=True, memory_format=torch.contiguous_format)


def as_float64(rows: Block) -> Any:
    """A contiguous copy in float64, on the device of the rows."""
    if isinstance(rows, Tensor):
        return on_device(rows, rows.device).double()
    # The memory layout decides how sums round, so use C order for all rows.
    return np.array(rows, dtype=np.float64, order="C")


def beside(rows: Block, values: NDArray[Any]) -> Any:
    """Values as an array or a tensor, as the rows are, on their device."""
    if isinstance(rows, Tensor):
        return torch.from_numpy(values).to(rows.device)
    return values


def new_results(rows: Block, *shape: int, dtype: str) -> Any:
    """Uninitialised memory for the results of rows, beside them."""
    if isinstance(rows, Tensor):
        return torch.empty(shape, dtype=getattr(torch, dtype), device=rows.device)
    return np.empty(shape, dtype=dtype)


def fill(out: Any, part: slice, results: Tensor) -> None:
    """Copy results into a part of `out`, an array or a tensor."""
    out[part] = results if isinstance(out, Tensor) else results.cpu().numpy()
