"""Apply a model to rows in blocks of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._batches import narrow

_ROWS_ON_CPU = 256
_ROWS_ON_CUDA = 16384


def blocks(n_rows: int, size: int) -> Iterator[slice]:
    """Consecutive slices of `size` rows; the last may be shorter."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


@torch.inference_mode()
def map_rows(
    function: Callable[[Tensor], Tensor],
    rows: NDArray[Any],
    out: NDArray[Any],
    device: torch.device,
) -> NDArray[Any]:
    """Fill `out` with `function` of the rows, a block at a time.

    Libraries pick their kernels by the shape of a matrix, and kernels differ in the
    last bit, which is enough to turn a near tie between two codes. The last block is
    therefore padded by repeating its last row: every row is computed at one shape, and
    its result does not depend on the rows that came with it.

    Parameters
    ----------
    function : callable
        Maps a block on `device` to a tensor with as many rows.
    rows : ndarray of shape (n, ...)
    out : ndarray of shape (n, ...)
    device : torch.device

    Returns
    -------
    ndarray
        `out`.
    """
    size = _ROWS_ON_CUDA if device.type == "cuda" else _ROWS_ON_CPU
    for block in blocks(len(rows), size):
        part = narrow(rows[block])
        n_part = len(part)
        if n_part < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - n_part, axis=0)])
        result = function(torch.from_numpy(part).to(device))
        out[block] = result[:n_part].cpu().numpy()
    return out
