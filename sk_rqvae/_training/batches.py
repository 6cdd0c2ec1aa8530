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
from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._training.seeds import Generators, numpy_generator

_MAX_RUN_LENGTH = 256
_MIN_RUNS = 64
_ROWS_PER_POOL = 16384
_VALUES_PER_POOL = 2**24
_ROWS_PER_CONVERSION = 8192


class ResidentRows(Dataset[Tensor]):
    """A matrix that lives on the device as one standardised tensor.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
    generators : Generators
        Draw samples and the order of the rows.
    """

    def __init__(self, rows: Tensor, generators: Generators) -> None:
        self.rows = rows
        self.generators = generators

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, count: int) -> Tensor:
        """Draw up to `count` different rows."""
        return self.rows[self._order()[:count]]

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new random order if `shuffle`."""
        if not shuffle:
            yield from self.rows.split(batch_size)
            return
        for index in self._order().split(batch_size):
            yield self.rows.index_select(0, index)

    def _order(self) -> Tensor:
        return torch.randperm(
            len(self.rows),
            device=self.rows.device,
            generator=self.generators.device,
        )


class StreamedRows(Dataset[Tensor]):
    """A matrix that is read and standardised in parts, for instance from a file.

    Parameters
    ----------
    X : ndarray or RowSubset of shape (n, n_features)
        Often a memory map.
    standardize : callable
        Maps rows of `X`, float64, to model input.
    device : torch.device
        Where batches go.
    generators : Generators
        Draw samples and the order of the rows.

    Notes
    -----
    Shuffling draws runs of consecutive rows in random order into a pool and then
    shuffles the pool, so that a disk reads in long strides.
    """

    def __init__(
        self,
        X: Matrix,
        standardize: Callable[[Tensor], Tensor],
        device: torch.device,
        generators: Generators,
    ) -> None:
        self.X = X
        self.standardize = standardize
        self.device = device
        self.generators = generators
        self.run_length = run_length(len(X))
        self.n_runs = -(-len(X) // self.run_length)

    def __len__(self) -> int:
        return len(self.X)

    def sample(self, count: int) -> Tensor:
        """Draw up to `count` different rows, in ascending order.

        They are drawn one by one, since neighbours in a sorted file are of one kind.
        In ascending order, a disk reads them in at most the time of one pass.
        """
        index = np.arange(len(self.X))
        if count < len(index):
            rng = numpy_generator(self.generators.cpu)
            index = rng.choice(len(self.X), count, replace=False, shuffle=False)
            index.sort()
        n_parts = -(-len(index) // _ROWS_PER_CONVERSION)
        return self._standardized(np.array_split(index, max(1, n_parts)), len(index))

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new nearly random order if `shuffle`."""
        runs = self._shuffled_runs() if shuffle else torch.arange(self.n_runs)
        remainder = torch.empty(0, self.X.shape[1], device=self.device)
        n_rows = min(_ROWS_PER_POOL, _VALUES_PER_POOL // self.X.shape[1])
        for drawn in runs.split(max(1, n_rows // self.run_length)):
            pool = torch.cat([remainder, self._read(drawn)])
            if shuffle:
                order = torch.randperm(
                    len(pool), device=self.device, generator=self.generators.device
                )
                pool = pool[order]
            n_full = len(pool) // batch_size * batch_size
            if n_full:
                yield from pool[:n_full].split(batch_size)
            remainder = pool[n_full:]
        if len(remainder):
            yield remainder

    def _shuffled_runs(self) -> Tensor:
        return torch.randperm(self.n_runs, generator=self.generators.cpu)

    def _read(self, runs: Tensor) -> Tensor:
        """Standardised rows of some runs."""
        starts = (self.run_length * runs).tolist()
        stops = [min(start + self.run_length, len(self.X)) for start in starts]
        n_rows = sum(stops) - sum(starts)
        return self._standardized(list(map(slice, starts, stops)), n_rows)

    def _standardized(self, parts: list[Any], n_rows: int) -> Tensor:
        """The `n_rows` rows of all parts, each a slice or an array of row numbers."""
        rows = torch.empty(
            n_rows, self.X.shape[1], dtype=torch.float32, device=self.device
        )
        n_read = 0
        for part in parts:
            block = as_tensor(self.X[part], self.device)
            rows[n_read : n_read + len(block)] = self.standardize(block)
            n_read += len(block)
        return rows


Rows = ResidentRows | StreamedRows


def run_length(n_rows: int) -> int:
    """Consecutive rows that a shuffled read takes at once."""
    return min(_MAX_RUN_LENGTH, max(1, n_rows // _MIN_RUNS))


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
        self.batch_size = min(batch_size, len(dataset))
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
    X: Matrix,
    standardize: Callable[[Tensor], Tensor],
    device: torch.device,
    generators: Generators,
) -> ResidentRows:
    """Rows of `X` in one float32 tensor on `device`."""
    rows = torch.empty(X.shape, dtype=torch.float32, device=device)
    for start in range(0, len(X), _ROWS_PER_CONVERSION):
        part = slice(start, start + _ROWS_PER_CONVERSION)
        rows[part] = standardize(as_tensor(X[part], device))
    return ResidentRows(rows, generators)
