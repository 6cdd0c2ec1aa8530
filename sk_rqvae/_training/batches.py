"""Rows on their way to the model: resident on the device, or streamed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sk_rqvae._inference.blocks import blocks, on_device
from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._training.seeds import Generators, numpy_generator
from sk_rqvae._training.weighted_draws import draw_counts, number_of_draws

Weights = NDArray[np.float64]

# Long runs are read fast, and many runs in a matrix mix its rows well.
_MAX_RUN_LENGTH = 256
_MIN_RUNS = 64
# Bounds of memory.
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
    weights : ndarray of shape (n,), default=None
        Positive. Rows are drawn in proportion to them, `n` in each epoch. None is one
        draw of each row.
    """

    def __init__(
        self, rows: Tensor, generators: Generators, weights: Weights | None = None
    ) -> None:
        self.rows = rows
        self.generators = generators
        self.weights = weights

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, count: int) -> Tensor:
        """Draw up to `count` rows, different ones unless they have weights."""
        return self.rows[self._order()[:count]]

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new random order if `shuffle`."""
        if not shuffle and self.weights is None:
            yield from self.rows.split(batch_size)
            return
        index = self._order() if shuffle else self._drawn(None)
        for part in index.split(batch_size):
            yield self.rows.index_select(0, part)

    def _order(self) -> Tensor:
        order = torch.randperm(
            len(self.rows),
            device=self.rows.device,
            generator=self.generators.device,
        )
        if self.weights is None:
            return order
        return self._drawn(numpy_generator(self.generators.cpu))[order]

    def _drawn(self, rng: np.random.Generator | None) -> Tensor:
        """Rows of one epoch in ascending order, repeated by their weights."""
        assert self.weights is not None
        counts = draw_counts(self.weights, len(self.weights), rng)
        index = np.repeat(np.arange(len(counts)), counts)
        return torch.from_numpy(index).to(self.rows.device)


class StreamedRows(Dataset[Tensor]):
    """A matrix that is read and standardised in parts, for instance from a file.

    Parameters
    ----------
    X : ndarray, Tensor or RowSubset of shape (n, n_features)
        Often a memory map.
    standardize : callable
        Maps rows of `X` to model input.
    device : torch.device
        Where batches go.
    generators : Generators
        Draw samples and the order of the rows.
    weights : ndarray of shape (n,), default=None
        As in `ResidentRows`.

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
        weights: Weights | None = None,
    ) -> None:
        self.X = X
        self.standardize = standardize
        self.device = device
        self.generators = generators
        self.weights = weights
        self.run_length = run_length(len(X))
        self.n_runs = -(-len(X) // self.run_length)

    def __len__(self) -> int:
        return len(self.X)

    def sample(self, count: int) -> Tensor:
        """Draw up to `count` rows, in ascending order.

        They are drawn one by one, since neighbours in a sorted file are of one kind.
        In ascending order, a disk reads them in at most the time of one pass. Without
        weights they are different ones. With weights, heavy rows are repeated, see
        `number_of_draws`.
        """
        if self.weights is not None:
            n_draws = number_of_draws(self.weights, count)
            rng = numpy_generator(self.generators.cpu)
            counts = draw_counts(self.weights, n_draws, rng)
            index = np.arange(len(self.X)).repeat(counts)
        elif count < len(self.X):
            rng = numpy_generator(self.generators.cpu)
            index = rng.choice(len(self.X), count, replace=False, shuffle=False)
            index.sort()
        else:
            index = np.arange(len(self.X))
        n_parts = -(-len(index) // _ROWS_PER_CONVERSION)
        return self._standardized(np.array_split(index, n_parts), len(index))

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[Tensor]:
        """Yield the rows in batches, in a new nearly random order if `shuffle`."""
        runs = self._shuffled_runs() if shuffle else torch.arange(self.n_runs)
        counts = self._counts_of_epoch(shuffle=shuffle)
        remainder: Tensor | None = None
        n_rows = min(_ROWS_PER_POOL, _VALUES_PER_POOL // self.X.shape[1])
        for drawn in runs.split(max(1, n_rows // self.run_length)):
            pool = self._read(drawn)
            n_kept = 0 if remainder is None else len(remainder)
            if remainder is not None:
                pool = torch.cat([remainder, pool])
            index = torch.arange(len(pool), device=self.device)
            if counts is not None:
                repeats = np.concatenate(
                    [
                        np.ones(n_kept, np.int64),
                        *(counts[part] for part in self._slices(drawn)),
                    ]
                )
                index = index.repeat_interleave(
                    torch.from_numpy(repeats).to(self.device)
                )
            if shuffle:
                order = torch.randperm(
                    len(index), device=self.device, generator=self.generators.device
                )
                index = index[order]
            n_full = len(index) // batch_size * batch_size
            for part in index[:n_full].split(batch_size) if n_full else ():
                yield pool[part]
            remainder = pool[index[n_full:]]
        if remainder is not None and len(remainder):
            yield remainder

    def _shuffled_runs(self) -> Tensor:
        return torch.randperm(self.n_runs, generator=self.generators.cpu)

    def _counts_of_epoch(self, *, shuffle: bool) -> NDArray[np.int64] | None:
        if self.weights is None:
            return None
        rng = numpy_generator(self.generators.cpu) if shuffle else None
        return draw_counts(self.weights, len(self.weights), rng)

    def _read(self, runs: Tensor) -> Tensor:
        """Standardised rows of some runs."""
        parts = self._slices(runs)
        return self._standardized(parts, sum(part.stop - part.start for part in parts))

    def _slices(self, runs: Tensor) -> list[slice]:
        starts = (self.run_length * runs).tolist()
        stops = [min(start + self.run_length, len(self.X)) for start in starts]
        return list(map(slice, starts, stops))

    def _standardized(self, parts: list[Any], n_rows: int) -> Tensor:
        return _standardized_rows(self.X, parts, n_rows, self.standardize, self.device)


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
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[Tensor]:
        return self.dataset.batches(self.batch_size, shuffle=self.shuffle)


def resident_rows(
    X: Matrix,
    standardize: Callable[[Tensor], Tensor],
    device: torch.device,
    generators: Generators,
    weights: Weights | None = None,
) -> ResidentRows:
    """Rows of `X` in one float32 tensor on `device`."""
    parts = blocks(len(X), _ROWS_PER_CONVERSION)
    rows = _standardized_rows(X, parts, len(X), standardize, device)
    return ResidentRows(rows, generators, weights)


def _standardized_rows(
    X: Matrix,
    parts: Iterable[Any],
    n_rows: int,
    standardize: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Tensor:
    """The `n_rows` rows of all parts, each a slice or an array of row numbers."""
    of_parts = (standardize(on_device(X[part], device)) for part in parts)
    first = next(of_parts)
    rows = first.new_empty(n_rows, first.shape[1])
    n_read = 0
    for block in chain([first], of_parts):
        rows[n_read : n_read + len(block)] = block
        n_read += len(block)
    return rows
