"""Apply a model to rows in blocks of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.row_subset import ArrayOrTensor, Matrix
from sk_rqvae._progress import ProgressCallback, no_progress

_ROWS_ON_CPU = 256
# 8192 rows of 768 columns take 2.4 GB on an H200. Blocks of 4096 rows take 1.06 times
# as long, and blocks of 16384 rows, with 4.3 GB, 0.92 times.
_ROWS_ON_CUDA = 8192
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))
_TENSOR_DTYPES = (torch.float32, torch.float64, torch.int64)


def blocks(n_rows: int, size: int) -> Iterator[slice]:
    """Consecutive slices of `size` rows; the last may be shorter."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def rows_of_a_block(device: torch.device) -> int:
    """Rows that a model gets at once."""
    return _ROWS_ON_CUDA if device.type == "cuda" else _ROWS_ON_CPU


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
    size = rows_of_a_block(device)
    for part in blocks(len(rows), size):
        block = on_device(rows[part], device)
        n_padded = size - len(block)
        if n_padded:
            padding = block[-1:].expand(n_padded, *block.shape[1:])
            block = torch.cat([block, padding])
        yield part, block


Results = Iterable[tuple[slice, Sequence[Tensor]]]
"""For each block, its rows and what was computed for them."""


def fill(
    outs: Sequence[Any],
    results: Results,
    on_progress: ProgressCallback = no_progress,
) -> None:
    """Copy results into arrays or tensors, block by block.

    Parameters
    ----------
    outs : sequence of ndarray or of Tensor, each of shape (n, ...)
        One for each result of a block. Results are copied to the device of a tensor.
    results : iterable of (slice, sequence of Tensor)
    on_progress : ProgressCallback, default=no_progress
        Called with the number of rows of each block.
    """
    if not isinstance(outs[0], Tensor):
        results = _in_host_memory(results)
    for part, values in results:
        for out, of_block in zip(outs, values, strict=True):
            out[part] = of_block
        on_progress(part.stop - part.start)


def _in_host_memory(results: Results) -> Results:
    """Copy results to the CPU, each block while CUDA computes the next one."""
    late: tuple[slice, Sequence[Tensor], torch.cuda.Event | None] | None = None
    for part, values in results:
        # Copies from CUDA go to pinned memory, and nothing waits for them here.
        copies = [each.to("cpu", non_blocking=True) for each in values]
        copied = _event(values[0].device)
        if late is not None:
            yield _finished(*late)
        late = part, copies, copied
    if late is not None:
        yield _finished(*late)


def _event(device: torch.device) -> torch.cuda.Event | None:
    """An event after all that CUDA was told to do, None on a CPU."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def _finished(
    part: slice, copies: Sequence[Tensor], copied: torch.cuda.Event | None
) -> tuple[slice, Sequence[Tensor]]:
    if copied is not None:
        copied.synchronize()
    return part, copies


@torch.inference_mode()
def map_rows(
    function: Callable[[Tensor], Tensor],
    rows: ArrayOrTensor,
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
    results = (
        (part, [function(block)[: part.stop - part.start]])
        for part, block in equal_blocks(rows, device)
    )
    fill([out], results, on_progress)
    return out


def supported_copy(rows: NDArray[Any]) -> NDArray[Any]:
    """A contiguous, writable copy in a dtype that torch supports."""
    return np.array(rows, dtype=_supported(rows), order="C")


def on_device(rows: ArrayOrTensor, device: torch.device) -> Tensor:
    """A contiguous copy on `device` in a dtype that the model can standardise."""
    if not isinstance(rows, Tensor):
        if device.type == "cuda":
            # Copies from pinned memory need not wait for the kernels of earlier blocks.
            return _pinned(rows).to(device, non_blocking=True)
        return torch.from_numpy(supported_copy(rows)).to(device)
    dtype = rows.dtype if rows.dtype in _TENSOR_DTYPES else torch.float64
    return rows.to(device, dtype, copy=True, memory_format=torch.contiguous_format)


def _pinned(rows: NDArray[Any]) -> Tensor:
    # Rows that are writable and in order are copied once, by several threads.
    in_order = np.require(rows, _supported(rows), ["C", "W"])
    return torch.from_numpy(in_order).pin_memory()


def _supported(rows: NDArray[Any]) -> np.dtype[Any]:
    """The dtype of the rows if torch supports it, else float64."""
    return rows.dtype if rows.dtype in _DTYPES else np.dtype(np.float64)


def as_float64(rows: ArrayOrTensor) -> Any:
    """A contiguous copy in float64, on the device of the rows."""
    if isinstance(rows, Tensor):
        return rows.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    # The memory layout decides how sums round, so use C order for all rows.
    return np.array(rows, dtype=np.float64, order="C")


def beside(rows: ArrayOrTensor, values: NDArray[Any]) -> Any:
    """Values as an array or a tensor, as the rows are, on their device."""
    if isinstance(rows, Tensor):
        return torch.from_numpy(values).to(rows.device)
    return values


def new_results(rows: ArrayOrTensor, *shape: int, dtype: str) -> Any:
    """Uninitialised memory for the results of rows, beside them."""
    if isinstance(rows, Tensor):
        return torch.empty(shape, dtype=getattr(torch, dtype), device=rows.device)
    return np.empty(shape, dtype=dtype)
