"""The smallest entries of each row of a matrix, fast on a CPU too."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

# On a CPU, up to so many passes over a row are faster than `topk`.
_MAX_REPEATED_ARGMIN = 10


def nearest(distances: Tensor) -> Tensor:
    """Index of the smallest entry of each row; of equal entries, the first.

    Parameters
    ----------
    distances : Tensor of shape (n, m)

    Returns
    -------
    Tensor of shape (n,), int64
    """
    if _runs_on_cpu(distances):
        # On a CPU NumPy's argmin is vectorised, and torch's is not.
        return from_dlpack(distances.numpy().argmin(axis=1))
    return distances.argmin(1)


def k_smallest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` smallest entries of each row, in ascending order, and their indices.

    Parameters
    ----------
    values : Tensor of shape (n, m)
    k : int
        At most `m`.

    Returns
    -------
    smallest : Tensor of shape (n, k)
    indices : Tensor of shape (n, k), int64
    """
    if k <= _MAX_REPEATED_ARGMIN and _runs_on_cpu(values):
        return _repeated_argmin(values, k)
    found = values.topk(k, dim=1, largest=False)
    return found.values, found.indices


def _repeated_argmin(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Replace the minimum by infinity `k` times, then restore the values.

    On a CPU and for small `k` this is faster than `torch.topk`.
    """
    entries = values.numpy()
    rows = np.arange(len(entries))
    indices = np.empty((len(entries), k), dtype=np.int64)
    found = np.empty((len(entries), k), dtype=entries.dtype)
    for rank in range(k):
        indices[:, rank] = entries.argmin(axis=1)
        found[:, rank] = entries[rows, indices[:, rank]]
        entries[rows, indices[:, rank]] = np.inf
    entries[rows[:, None], indices] = found
    return from_dlpack(found), from_dlpack(indices)


def _runs_on_cpu(tensor: Tensor) -> bool:
    """Whether this runs eagerly on a CPU, not while torch traces a graph."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
