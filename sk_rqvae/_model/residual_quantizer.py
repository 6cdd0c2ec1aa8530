"""The residual quantizer: a stack of codebooks and its gradient estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.beam_search import Beams, PreparedBeamSearch, sum_of_codes
from sk_rqvae._model.codebook import Codebook, level_offsets
from sk_rqvae._model.greedy_search import CodeBias, greedy_codes
from sk_rqvae._model.modes import QuantizeForwardMode


class Quantized(NamedTuple):
    """A training batch of latents after quantisation.

    Attributes
    ----------
    codes : Tensor of shape (n, n_layers), int64
    total : Tensor of shape (n, dim)
        Sum of the code vectors. Its gradient reaches the codebooks.
    decoder_input : Tensor of shape (n, dim)
        The same sum as the decoder receives it. Its gradient reaches the latents,
        through the gradient estimators. In Gumbel-Softmax levels its value is an
        average of codes, and its gradient reaches the codebooks too.
    """

    codes: Tensor
    total: Tensor
    decoder_input: Tensor


class ResidualQuantizer(nn.Module):
    r"""A stack of codebooks; each quantises the residual of the levels before it.

    A forward pass has three steps:

    1. Greedy search chooses one code per level (see `greedy_codes`). It costs less than
       beam search, and the first codes then describe the latent better.
    2. The code vectors are looked up and summed.
    3. Gradient estimators compute the input of the decoder, level after level or for
       groups of levels (see Notes).

    Parameters
    ----------
    sizes : sequence of int
        Codes per level.
    dim : int
        Width of the latents.
    modes : sequence of QuantizeForwardMode
        Gradient estimator of each level.
    n_beams : int
        Beams of `search`.
    normalize, sim_vq : bool
        As in `Codebook`.

    Attributes
    ----------
    idle_rows : Tensor of shape (sum of sizes,), int64
        For each code, the number of training rows since it was last chosen. Updated at
        the end of each epoch.
    temperature : Tensor of shape ()
        Falls from 1 to 0 over the first half of a fit; 0 in `partial_fit`.
    uses_biases : bool
        Whether training subtracts the biases of the modes from the distances: from
        temperature zero on it does not. Set by `train`.

    Notes
    -----
    Levels form groups. Neighbouring straight-through levels of one mode are one group,
    since that estimator applies to their sum as it applies to one code. Each level of
    Gumbel-Softmax or of the rotation trick is a group of its own.

    Let :math:`z` be the latent, :math:`q_k` the sum of the code vectors of group
    :math:`k` and :math:`E_k` its gradient estimator, which is a function of a residual
    and of :math:`q_k`. The input of the decoder is

    .. math:: p = \sum_k p_k, \quad p_k = E_k(r_k, q_k), \quad
        r_k = z - \sum_{j < k} p_j .

    The residuals :math:`r_k` are not detached. With :math:`J_k` the Jacobian of
    :math:`E_k` with respect to its residual, the chain rule gives

    .. math:: \frac{\partial p}{\partial z}
        = I - \cdots (I - J_2) (I - J_1) .

    If one group is straight-through (:math:`J_k = I`), the Jacobian of the stack is
    exactly the identity.
    """

    temperature: Tensor
    offsets: Tensor
    idle_rows: Tensor
    uses_biases = True

    def __init__(
        self,
        sizes: Sequence[int],
        dim: int,
        *,
        modes: Sequence[QuantizeForwardMode],
        n_beams: int,
        normalize: bool,
        sim_vq: bool,
    ) -> None:
        super().__init__()
        self.modes = tuple(modes)
        self.n_beams = n_beams
        self.sizes = tuple(sizes)
        levels = nn.ModuleList(
            Codebook(size, dim, normalize=normalize, sim_vq=sim_vq) for size in sizes
        )
        self.levels = cast("Sequence[Codebook]", levels)
        self.register_buffer("temperature", torch.ones((), dtype=torch.float32))
        idle_rows = torch.zeros(sum(self.sizes), dtype=torch.int64)
        self.register_buffer("idle_rows", idle_rows)
        self.register_buffer("offsets", level_offsets(self.sizes), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation.

        At temperature zero there are no biases to compute. It is read here, because
        reading it in every step would make the CPU wait for the GPU.
        """
        if mode:
            self.uses_biases = bool(self.temperature > 0)
        return super().train(mode)

    def commitment(self, latents: Tensor, total: Tensor, weight: float) -> Tensor:
        """The weighted commitment loss, averaged over the levels.

        Parameters
        ----------
        latents, total : Tensor of shape (n, dim)
            Each latent and the sum of its code vectors.
        weight : float
            Commitment weight.

        Returns
        -------
        Tensor of shape ()
        """
        losses = Counter(mode.rule.commitment for mode in self.modes)
        first, *others = (
            count / len(self.modes) * loss(latents, total)
            for loss, count in losses.items()
        )
        return weight * sum(others, start=first)

    def codebooks(self) -> list[Tensor]:
        """The code vectors of each level, ``(codebook_size, dim)``."""
        return [level.vectors() for level in self.levels]

    def forward(
        self, latents: Tensor, generator: torch.Generator | None = None
    ) -> Quantized:
        """Quantise a training batch, ``(n, dim)``; `generator` draws Gumbel noise."""
        codebooks = self.codebooks()
        all_vectors = torch.cat(codebooks)
        codes = self._choose_codes(latents, all_vectors)
        vectors = F.embedding(codes + self.offsets, all_vectors)
        total = vectors.sum(1)
        residual = decoder_input = latents
        for start, stop in self._groups():
            if start:
                residual = latents - decoder_input
            estimate = self.modes[start].rule.estimate(
                residual,
                self._group_sum(vectors, start, stop, total),
                codebooks[start],
                self.temperature,
                generator,
            )
            decoder_input = decoder_input + estimate if start else estimate
        return Quantized(codes, total, decoder_input)

    def prepare_search(self, n_beams: int) -> PreparedBeamSearch:
        """Prepare a search to be used for many batches.

        It is valid as long as the codebooks do not change.
        """
        all_vectors = torch.cat(self.codebooks()).detach()
        return PreparedBeamSearch(all_vectors, self.sizes, n_beams)

    def search(self, latents: Tensor) -> Beams:
        """Search the codes of latents as at inference: without biases."""
        return self.prepare_search(self.n_beams).search(latents)

    def sum_of(self, codes: Tensor) -> Tensor:
        """Quantised latents of IDs or of prefixes, ``(..., k)`` to ``(..., dim)``."""
        return sum_of_codes(self.codebooks(), codes)

    def _groups(self) -> list[tuple[int, int]]:
        """Groups of levels that share an estimate, as half-open ranges."""
        starts = [
            level
            for level, mode in enumerate(self.modes)
            if level == 0 or mode.rule.per_level or mode is not self.modes[level - 1]
        ]
        return list(zip(starts, [*starts[1:], len(self.modes)], strict=True))

    @torch.no_grad()
    def _group_sum(
        self, vectors: Tensor, start: int, stop: int, total: Tensor
    ) -> Tensor:
        if stop - start == 1:
            return vectors.select(1, start)
        if stop - start == len(self.modes):
            return total.detach()
        return vectors[:, start:stop].sum(1)

    @torch.no_grad()
    def _choose_codes(self, latents: Tensor, all_vectors: Tensor) -> Tensor:
        biases = [
            _tempered(mode.rule.code_bias, self.temperature)
            if self.uses_biases
            else None
            for mode in self.modes
        ]
        return greedy_codes(latents, all_vectors, self.sizes, biases)


def _tempered(bias: CodeBias | None, temperature: Tensor) -> CodeBias | None:
    """Multiply the bias by the temperature, so that it vanishes during training."""
    if bias is None:
        return None
    return lambda distances: temperature * bias(distances)
