r"""Shortlist candidates with a narrow copy of the decoder.

Decoding a candidate ID with a wide decoder takes several times as long as encoding the
row. A narrow decoder estimates the errors of all candidates, and only those whose
estimates are close to the best are decoded exactly.

Let :math:`s` be the sum of an ID's code vectors and :math:`h_j(s)` the decoder's hidden
unit :math:`j`. The narrow decoder keeps :math:`m` of these units and predicts the
leading :math:`r` axes :math:`P` of the reconstruction :math:`f`,

.. math:: P f(s) \approx \sum_j h_j(s)\, a_j + B s + b ,

with :math:`a_j`, :math:`B` and :math:`b` found by least squares. The inputs of the
units and :math:`B s + b` are sums over the levels. They are looked up in one table of
:math:`m + r` columns with one row per code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import Linear, addmm, matmul

# Blocks that fit into the caches of a CPU. On an H200, `transform` was 3 to 4 times as
# fast with the larger blocks, and with 4096 instead of 2048 rows at once.
_PAIRS_AT_ONCE = {"cpu": 128, "cuda": 4096}
_IDS_AT_ONCE = {"cpu": 256, "cuda": 65536}
_MAX_TABULATED_CODES = 2048


class ShortlistDecoder(NamedTuple):
    """The narrow decoder, as a model stores it.

    Without one, all tensors are empty.

    Attributes
    ----------
    units : Tensor of shape (m,), int64
        Which hidden units of the decoder it has.
    readout : Tensor of shape ((m + embed_dim + 1) * r,)
        Rows of the least-squares solution: units, latents, constant.
    axes : Tensor of shape (n_features * r,)
        Orthonormal columns that span the predicted part of the reconstruction.
    margin : Tensor of shape (1,)
        Candidates whose estimated cost exceeds the lowest by at most this are decoded.
    """

    units: Tensor
    readout: Tensor
    axes: Tensor
    margin: Tensor


def no_shortlist(device: torch.device) -> ShortlistDecoder:
    """An empty `ShortlistDecoder`."""
    empty = torch.zeros(0, dtype=torch.float32, device=device)
    return ShortlistDecoder(empty.long(), empty, empty.clone(), empty.clone())


def hidden_layers(decoder: SkipMLP) -> tuple[Linear, nn.Module, Linear] | None:
    """Hidden layer, activation and output layer; None if there are other layers."""
    layers = list(decoder.mlp)
    if len(layers) != 3:
        return None
    first, activation, last = layers
    if not (isinstance(first, Linear) and isinstance(last, Linear)):
        return None
    return first, activation, last


class PreparedShortlist:
    """A `ShortlistDecoder` with its tables, to be used for many batches.

    Parameters
    ----------
    narrow : ShortlistDecoder
    decoder : SkipMLP
        With one hidden layer.
    all_vectors : Tensor of shape (sum of sizes, embed_dim)
        The vectors of all codebooks, concatenated.
    offsets : Tensor of shape (n_layers,), int64
        Index of the first code of each level in the concatenated codebooks.

    Attributes
    ----------
    margin : Tensor of shape (1,)
        As in `ShortlistDecoder`.
    """

    def __init__(
        self,
        narrow: ShortlistDecoder,
        decoder: SkipMLP,
        all_vectors: Tensor,
        offsets: Tensor,
    ) -> None:
        layers = hidden_layers(decoder)
        if layers is None:
            raise ValueError("decoder must have one hidden layer.")
        self._first, self._activation, self._last = layers
        self._decoder = decoder
        self._all_vectors = all_vectors
        self._offsets = offsets
        self.margin = narrow.margin
        with torch.no_grad():
            self._n_units = len(narrow.units)
            dim = all_vectors.shape[1]
            readout = narrow.readout.view(self._n_units + dim + 1, -1)
            self._weights, linear, constant = readout.split([self._n_units, dim, 1])
            self._axes = narrow.axes.view(-1, readout.shape[1])
            # Each ID has one code of the last level, so its rows can hold the biases.
            is_last = (
                torch.arange(len(all_vectors), device=offsets.device) >= offsets[-1]
            )
            is_last = is_last.unsqueeze(1)
            bias = self._first.bias[narrow.units]
            weight = self._first.weight[narrow.units]
            self._inputs = matmul(all_vectors, weight.T) + is_last * bias
            self._linear = matmul(all_vectors, linear) + is_last * constant
            is_small = len(all_vectors) <= _MAX_TABULATED_CODES
            tabulated = is_small and not torch.compiler.is_compiling()
            self._all_inputs = (
                matmul(all_vectors, self._first.weight.T) if tabulated else None
            )

    def errors(self, x: Tensor, codes: Tensor) -> Tensor:
        """Estimated squared errors of the reconstructions of candidates.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Standardised rows.
        codes : Tensor of shape (n, n_candidates, n_layers), int64

        Returns
        -------
        Tensor of shape (n, n_candidates)
            Without the part of the error outside the predicted axes, which hardly
            differs between the candidates of a row.
        """
        with torch.no_grad():
            n_candidates = codes.shape[1]
            indices = (codes + self._offsets).flatten(0, 1)
            if torch.compiler.is_compiling():  # the number of rows is a symbol
                decoded = self._estimate(indices)
            else:
                parts = indices.split(_block_size(_IDS_AT_ONCE, indices))
                decoded = torch.cat([self._estimate(part) for part in parts])
            target = matmul(x, self._axes).unsqueeze(1)
            decoded = decoded.view(-1, n_candidates, decoded.shape[1])
            return (target - decoded).square().sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Exact standardised reconstructions of IDs, ``(n, n_layers)``.

        The inputs of all hidden units are looked up, which is much faster than their
        matrix product, unless there are too many codes.
        """
        with torch.no_grad():
            indices = codes + self._offsets
            latents = _sum_of_rows(self._all_vectors, indices)
            if self._all_inputs is None:
                return self._decoder(latents)
            inputs = _sum_of_rows(self._all_inputs, indices)
            linear = self._decoder.linear
            if linear is not None:
                inputs = inputs * self._decoder.clipping(latents)
            hidden = self._activation(inputs + self._first.bias)
            decoded = self._last(hidden)
            return decoded if linear is None else decoded + linear(latents)

    def _estimate(self, indices: Tensor) -> Tensor:
        hidden = self._activation(_sum_of_rows(self._inputs, indices))
        return addmm(_sum_of_rows(self._linear, indices), hidden, self._weights)


def refined_costs(
    estimates: Tensor,
    margin: Tensor,
    exact_costs: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Replace the lowest estimated costs of each row by exact ones.

    Costs that are not computed exactly are shifted by the mean error of the row's
    estimates, so that both are comparable.

    Parameters
    ----------
    estimates : Tensor of shape (n, n_candidates)
    margin : Tensor of shape (1,)
        Costs up to this above the lowest of a row are computed exactly, unless there is
        only the lowest.
    exact_costs : callable
        Maps indices of rows and of their candidates, ``(m,)`` each, to ``(m,)`` costs.

    Returns
    -------
    Tensor of shape (n, n_candidates)
    """
    is_close = estimates <= estimates.amin(1, keepdim=True) + margin
    is_close &= is_close.sum(1, keepdim=True) > 1
    if torch.compiler.is_compiling():  # a graph has fixed shapes: compute all
        n_rows, n_candidates = estimates.shape
        index = torch.arange(n_rows, device=estimates.device).unsqueeze(1)
        which = torch.arange(n_candidates, device=estimates.device)
        pairs = index.expand(-1, n_candidates), which.expand(n_rows, -1)
        exact = exact_costs(pairs[0].flatten(), pairs[1].flatten())
        exact = exact.view(n_rows, n_candidates)
    else:
        exact = estimates.clone()
        rows, which = is_close.nonzero(as_tuple=True)
        if len(rows):
            exact[rows, which] = _in_blocks(exact_costs, rows, which)
    n_close = is_close.sum(1, keepdim=True).clamp_min(1)
    shift = torch.where(is_close, exact - estimates, 0.0).sum(1, keepdim=True) / n_close
    return torch.where(is_close, exact, estimates + shift)


def _in_blocks(
    exact_costs: Callable[[Tensor, Tensor], Tensor], rows: Tensor, which: Tensor
) -> Tensor:
    """Call `exact_costs` with blocks of one size, since rounding depends on it."""
    n_pairs = len(rows)
    size = _block_size(_PAIRS_AT_ONCE, rows)
    padding = [(-n_pairs) % size]
    rows = torch.cat([rows, rows[:1].expand(padding)])
    which = torch.cat([which, which[:1].expand(padding)])
    blocks = zip(rows.split(size), which.split(size), strict=True)
    return torch.cat([exact_costs(*block) for block in blocks])[:n_pairs]


def _block_size(sizes: dict[str, int], tensor: Tensor) -> int:
    return sizes.get(tensor.device.type, sizes["cpu"])


def _sum_of_rows(table: Tensor, indices: Tensor) -> Tensor:
    """Sums of rows of a table, ``(n, k)`` indices to ``(n, width)``."""
    if torch.compiler.is_compiling():  # ONNX has no embedding_bag
        return F.embedding(indices, table).sum(1)
    return F.embedding_bag(indices, table, mode="sum")
