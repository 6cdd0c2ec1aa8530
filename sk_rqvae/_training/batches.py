"""Rows on their way to the model: resident on the device, or streamed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sk_rqvae._inference.blocks import narrow

_LONGEST_RUN = 256
_FEWEST_RUNS = 64
_ROWS_A_POOL = 16384
_VALUES_A_POOL = 2**24
_ROWS_A_CONVERSION = 8192


class ResidentRows(Dataset[Tensor]):
    """A matrix that lives on the device as one standardised tensor.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, count: int) -> Tensor:
        """Draw up to `count` different rows."""
        order = torch.randperm(len(self.rows), device=self.rows.device)
        return self.rows[order[:count]]

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new random order if `shuffle`."""
        if not shuffle:
            yield from self.rows.split(batch_size)
            return
        order = torch.randperm(len(self.rows), device=self.rows.device)
        for places in order.split(batch_size):
            yield self.rows.index_select(0, places)


class StreamedRows(Dataset[Tensor]):
    """A matrix that stays where it is; parts of it are standardised as they are read.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Often a memory map.
    standardize : callable
        Maps rows of `X`, float64, to model input.
    device : torch.device
        Where batches go.
    runs : ndarray of shape (n_runs,), int64, optional
        Which runs of `run_length(n)` consecutive rows belong to this data set, by
        number; all of them by default.

    Notes
    -----
    Shuffling draws runs in random order into a pool and then shuffles the pool, so that
    a disk reads in long strides.
    """

    def __init__(
        self,
        X: NDArray[Any],
        standardize: Callable[[Tensor], Tensor],
        device: torch.device,
        runs: NDArray[np.int64] | None = None,
    ) -> None:
        self.X = X
        self.standardize = standardize
        self.device = device
        self.run_length = run_length(len(X))
        n_runs = -(-len(X) // self.run_length)
        self.runs = torch.arange(n_runs) if runs is None else torch.from_numpy(runs)
        ends = ((self.runs + 1) * self.run_length).clamp_max(len(X))
        self._n_rows = int((ends - self.runs * self.run_length).sum())

    def __len__(self) -> int:
        return self._n_rows

    def sample(self, count: int) -> Tensor:
        """Draw rows, about `count` and whole runs of them; all if there are fewer."""
        n_runs = -(-count // self.run_length)
        runs = self.runs[torch.randperm(len(self.runs))[:n_runs]].sort().values
        return self._read(runs)

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new nearly random order if `shuffle`."""
        runs = self.runs
        if shuffle:
            runs = runs[torch.randperm(len(runs))]
        left_over = torch.empty(0, self.X.shape[1], device=self.device)
        n_rows = min(_ROWS_A_POOL, _VALUES_A_POOL // self.X.shape[1])
        for drawn in runs.split(max(1, n_rows // self.run_length)):
            pool = torch.cat([left_over, self._read(drawn)])
            if shuffle:
                pool = pool[torch.randperm(len(pool), device=self.device)]
            n_full = len(pool) // batch_size * batch_size
            if n_full:
                yield from pool[:n_full].split(batch_size)
            left_over = pool[n_full:]
        if len(left_over):
            yield left_over

    def _read(self, runs: Tensor) -> Tensor:
        length = self.run_length
        rows = torch.empty(
            len(runs) * length, self.X.shape[1], dtype=torch.float32, device=self.device
        )
        n_read = 0
        for run in runs.tolist():
            block = as_tensor(self.X[run * length : (run + 1) * length], self.device)
            rows[n_read : n_read + len(block)] = self.standardize(block)
            n_read += len(block)
        return rows[:n_read]


Rows = ResidentRows | StreamedRows


def run_length(n_rows: int) -> int:
    """Consecutive rows that a shuffled read takes at once."""
    return min(_LONGEST_RUN, max(1, n_rows // _FEWEST_RUNS))


class Batches:
    """The iterator that the net asks for, in place of a `DataLoader`.

    Parameters
    ----------
    dataset : ResidentRows or StreamedRows
    batch_size : int
    shuffle : bool
    """

    def __init__(
        self,
        dataset: Rows,
        batch_size: int,
        *,
        shuffle: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[Tensor]:
        return self.dataset.batches(self.batch_size, shuffle=self.shuffle)


def as_tensor(rows: NDArray[Any], device: torch.device) -> Tensor:
    """A float64 tensor of `rows` on `device`; crosses to it in the narrower dtype."""
    tensor = torch.from_numpy(narrow(rows))
    if device.type == "cuda":
        # Copies from pinned memory need not wait for the kernels of earlier batches.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).double()


def resident_rows(
    X: NDArray[Any],
    standardize: Callable[[Tensor], Tensor],
    device: torch.device,
    index: NDArray[np.int64] | None = None,
) -> ResidentRows:
    """Rows of `X`, all or those in `index`, in one float32 tensor on `device`."""
    n_rows = len(X) if index is None else len(index)
    rows = torch.empty(n_rows, X.shape[1], dtype=torch.float32, device=device)
    for start in range(0, n_rows, _ROWS_A_CONVERSION):
        part = slice(start, start + _ROWS_A_CONVERSION)
        block = X[part] if index is None else X[index[part]]
        rows[part] = standardize(as_tensor(block, device))
    return ResidentRows(rows)
