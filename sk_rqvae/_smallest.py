"""The smallest entries of every row, without the slow paths of a CPU's kernels."""

from __future__ import annotations

import torch
from torch import Tensor

_WIDEST_DIRECT = 128
_NARROWEST_FOLD = 32


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
        return torch.from_numpy(distances.numpy().argmin(axis=1))
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

    Notes
    -----
    On a CPU `torch.topk` of some hundred entries costs more than the distances do. The
    columns are therefore folded into a few groups. The `count` smallest entries lie in
    the `count` groups of the smallest minima, and only these are searched.
    """
    width = _fold(values.shape[1], count) if _runs_on_cpu(values) else 0
    if not width:
        found = values.topk(count, dim=1, largest=False)
        return found.values, found.indices
    folded = values.unflatten(1, (-1, width))
    groups = folded.amin(1).topk(count, dim=1, largest=False, sorted=False).indices
    steps = torch.arange(0, values.shape[1], width)
    places = (steps.unsqueeze(1) + groups.unsqueeze(1)).flatten(1)
    found = values.gather(1, places).topk(count, dim=1, largest=False)
    return found.values, places.gather(1, found.indices)


def _fold(n_columns: int, count: int) -> int:
    """The widest fold that divides the columns; 0 if a direct search is as good."""
    if n_columns > _WIDEST_DIRECT:
        for width in range(_WIDEST_DIRECT, max(count, _NARROWEST_FOLD) - 1, -1):
            if n_columns % width == 0:
                return width
    return 0


def _runs_on_cpu(tensor: Tensor) -> bool:
    """Whether kernels of this machine's CPU run now, rather than a graph being made."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
