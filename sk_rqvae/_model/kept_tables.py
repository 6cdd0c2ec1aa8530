"""The tables of a module, kept from one call to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

# A bound of memory, 128 MiB. Three levels of 256 codes and a decoder of 64 experts with
# 64 hidden units and 1536 columns have 21 million values.
_MAX_VALUES = 2**25


class _Tables(Protocol):
    @property
    def max_values(self) -> int:
        """How many numbers they hold at most."""


Tables = TypeVar("Tables", bound=_Tables)


class _Kept(NamedTuple, Generic[Tables]):
    key: Hashable
    weights: Sequence[Tensor]
    tables: Tables


class KeptTables(Generic[Tables]):
    """The last tables of a module, until its weights change.

    Copies of the weights are kept beside them and compared by value, because a program
    can write to weights in ways that leave no trace. Pickles and copies are empty.
    """

    def __init__(self) -> None:
        self._kept: _Kept[Tables] | None = None

    def of(
        self, module: nn.Module, key: Hashable, make: Callable[[], Tables]
    ) -> Tables:
        """The tables that `make` returns, from an earlier call if they are the same.

        Parameters
        ----------
        module : nn.Module
            The tables may depend on its parameters and buffers, and on `key`.
        key : hashable
        make : callable

        Returns
        -------
        Tables
            Kept if they are small enough. Several threads may use them at once.
        """
        weights = [*module.parameters(), *module.buffers()]
        kept = self._kept
        if kept is not None and kept.key == key and _are_equal(kept.weights, weights):
            return kept.tables
        self._kept = None  # frees memory before more is taken
        tables = make()
        if tables.max_values + sum(each.numel() for each in weights) <= _MAX_VALUES:
            copies = [each.detach().clone() for each in weights]
            self._kept = _Kept(key, copies, tables)
        return tables

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


def _are_equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(_is_equal, one, other))


def _is_equal(one: Tensor, other: Tensor) -> bool:
    is_alike = one.device == other.device and one.dtype == other.dtype
    return is_alike and torch.equal(one, other)
