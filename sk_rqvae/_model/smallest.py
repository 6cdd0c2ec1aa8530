"""The smallest entries of every row, without the slow paths of a CPU's kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

_FEW = 10


def nearest(distances: Tensor) -> Tensor:
    """Index of the smallest entry of each row.

    Parameters
    ----------
    distances : Tensor of shape (n, m)

    Returns
    -------
    Tensor of shape (n,), int64
    """
    if _runs_on_cpu(distances):
        # torch's reduction to an index is not vectorised on CPUs, NumPy's is.
        return from_dlpack(distances.numpy().argmin(axis=1))
    return distances.argmin(1)


def smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest entries of each row, ascending, and where they are.

    Parameters
    ----------
    values : Tensor of shape (n, m)
    count : int
        At most `m`.

    Returns
    -------
    smallest : Tensor of shape (n, count)
    where : Tensor of shape (n, count), int64
    """
    if count <= _FEW and _runs_on_cpu(values):
        return _one_after_another(values, count)
    found = values.topk(count, dim=1, largest=False)
    return found.values, found.indices


def _one_after_another(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Take out the smallest `count` times, then put all back.

    On a CPU `torch.topk` of a thousand entries takes longer than their distances do.
    """
    entries = values.numpy()
    rows = np.arange(len(entries))
    where = np.empty((len(entries), count), dtype=np.int64)
    found = np.empty((len(entries), count), dtype=entries.dtype)
    for place in range(count):
        where[:, place] = entries.argmin(axis=1)
        found[:, place] = entries[rows, where[:, place]]
        entries[rows, where[:, place]] = np.inf
    entries[rows[:, None], where] = found
    return from_dlpack(found), from_dlpack(where)


def _runs_on_cpu(tensor: Tensor) -> bool:
    """Whether kernels of this machine's CPU run now, rather than a graph being made."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
