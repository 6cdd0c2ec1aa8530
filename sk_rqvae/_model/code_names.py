"""Public numbers of codes, where they differ from their places in the codebooks.

A model whose codes were renamed computes as before: prices, and which of two equally
near codes is taken, depend on places. Only what users see has names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._model.module import RQVAEModule


class CodeNames:
    """A one-to-one map between the places and the names of the codes of each level.

    Parameters
    ----------
    names : Tensor of shape (sum of sizes,) or (0,), int64
        For each code, level after level, its name plus the number of codes in the
        levels before. Without entries, the name of a code is its place.
    offsets : Tensor of shape (n_layers,), int64
        Number of codes of the levels before.
    """

    def __init__(self, names: Tensor, offsets: Tensor) -> None:
        self._names, self._places, self._offsets = names, names.argsort(), offsets

    def named(self, codes: Tensor) -> Tensor:
        """Turn places in the codebooks into names, ``(..., k)``."""
        return _mapped(codes, self._names, self._offsets[: codes.shape[-1]])

    def placed(self, codes: Tensor) -> Tensor:
        """Turn names into places in the codebooks, ``(..., k)``."""
        return _mapped(codes, self._places, self._offsets[: codes.shape[-1]])

    def in_order(self, values: Tensor, level: int, *, dim: int) -> Tensor:
        """Sort `values`, which have one entry along `dim` for each code, by name."""
        if len(self._places) == 0:
            return values
        codes = torch.arange(values.shape[dim], device=values.device)
        places = _mapped(codes, self._places, self._offsets[level])
        return values.index_select(dim, places)


def _mapped(codes: Tensor, target: Tensor, offsets: Tensor) -> Tensor:
    if len(target) == 0:
        return codes
    return target[codes + offsets] - offsets


def names_of(module: RQVAEModule) -> CodeNames:
    """The names that users see instead of the places that a module computes with."""
    return CodeNames(module.code_names, module.quantizer.offsets)


def combined(names: Tensor, code_maps: Sequence[IntArray]) -> Tensor:
    """Names that are renamed once more, as `CodeNames` takes them.

    Parameters
    ----------
    names : Tensor of shape (sum of sizes,) or (0,), int64
    code_maps : sequence of ndarray of shape (codebook_size,), int64
        ``code_maps[level][name]`` is the new name.

    Returns
    -------
    Tensor of shape (sum of sizes,) or, if all names are places, (0,), int64
    """
    n_before = np.cumsum([0, *map(len, code_maps[:-1])])
    shifted = [code_map + n for code_map, n in zip(code_maps, n_before, strict=True)]
    renamed = torch.from_numpy(np.concatenate(shifted)).to(names.device)
    if len(names):
        renamed = renamed[names]
    are_places = torch.equal(renamed, torch.arange(len(renamed), device=names.device))
    return renamed[:0] if are_places else renamed
