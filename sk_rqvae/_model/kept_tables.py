"""The tables of a decoder, kept from call to call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sk_rqvae._model.id_decoder import TabulatedDecoder

# A bound of memory, 128 MiB. Tables of three levels of 256 codes and of 64 experts with
# 64 hidden units and 1536 columns take 84 MiB, and the weights of that decoder 28.
_MAX_BYTES = 2**27


class _Kept(NamedTuple):
    settings: Sequence[object]
    weights: Sequence[Tensor]
    tables: TabulatedDecoder


class KeptTables:
    """The last tables of a decoder, until its weights change.

    Copies of the weights are kept beside them and compared by value, because a program
    can write to weights in ways that leave no trace. Pickles and deep copies are empty.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def of(
        self,
        weights: Sequence[Tensor],
        settings: Sequence[object],
        make: Callable[[], TabulatedDecoder],
    ) -> TabulatedDecoder:
        """The tables of the last call if nothing has changed, otherwise new ones.

        Parameters
        ----------
        weights : sequence of Tensor
            All that the tables are computed from. Must not change while they are used.
        settings : sequence of object
            What else they depend on.
        make : callable
            Computes them.

        Returns
        -------
        TabulatedDecoder
            Kept if it is small enough. Several threads may use it at once.
        """
        kept = self._kept
        if kept is not None:
            if kept.settings == settings and _are_equal(kept.weights, weights):
                return kept.tables
            self._kept = kept = None  # frees memory before more is taken
        of_weights = sum(each.nbytes for each in weights)
        if of_weights > _MAX_BYTES:
            return make()
        # Copied first: if a weight changes meanwhile, the next call will see it.
        copies = [each.detach().clone() for each in weights]
        tables = make()
        if of_weights + tables.max_bytes <= _MAX_BYTES:
            self._kept = _Kept(settings, copies, tables)
        return tables

    def __reduce__(self) -> tuple[type[KeptTables], tuple[()]]:
        return type(self), ()


def _are_equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    if len(one) != len(other) or not all(map(_are_alike, one, other)):
        return False
    pairs = list(zip(one, other, strict=True))
    if all(each.is_cpu for each in one):
        return all(torch.equal(*pair) for pair in pairs)
    # Reads one value from the device.
    return bool(torch.stack([(left == right).all() for left, right in pairs]).all())


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return (one.device, one.dtype, one.shape) == (
        other.device,
        other.dtype,
        other.shape,
    )
