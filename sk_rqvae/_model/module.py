"""Encoder, residual quantizer and decoder, and the loss that trains them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._defaults import CANDIDATES_PER_BEAM, PREFIX_BATCH_SHARE
from sk_rqvae._model.beam_search import SearchedStack
from sk_rqvae._model.distances import squared_distances
from sk_rqvae._model.id_prices import PriceList, id_keys, look_up
from sk_rqvae._model.mlp import Dropout, SkipMLP
from sk_rqvae._model.modes import QuantizeForwardMode
from sk_rqvae._model.residual_quantizer import ResidualQuantizer

_SMALLEST_SHARE = 1e-3


def standardized(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Float64 rows to float32 around zero with unit scale."""
    return (x - mean).div_(scale).float()


class CoarseOutput(NamedTuple):
    """Reconstructions from prefixes, each of random length shorter than an ID.

    Attributes
    ----------
    reconstruction : Tensor of shape (m, n_features)
        Standardised, of the first ``m`` rows of a batch.
    weights : Tensor of shape (m,)
        What the loss of each of them counts.
    """

    reconstruction: Tensor
    weights: Tensor


class RQVAEOutput(NamedTuple):
    """What a forward pass in training gives `RQVAEModule.compute_loss`.

    Attributes
    ----------
    inputs : Tensor of shape (n, n_features)
        The standardised rows, without noise.
    latents : Tensor of shape (n, embed_dim)
        What the encoder made of the noisy rows.
    codes : Tensor of shape (n, n_layers), int64
        The chosen codes.
    quantized : Tensor of shape (n, embed_dim)
        Sum of the chosen vectors; gradients reach the codebooks.
    reconstruction : Tensor of shape (n, n_features)
        Standardised reconstruction; the last `n_cat_features` columns are logits.
    coarse : CoarseOutput or None
        Likewise for some of the rows, each from a prefix. None where IDs have one code
        or `prefix_weight` is 0.
    """

    inputs: Tensor
    latents: Tensor
    codes: Tensor
    quantized: Tensor
    reconstruction: Tensor
    coarse: CoarseOutput | None


class RQVAEModule(nn.Module):
    """A residual-quantised variational autoencoder over standardised rows.

    Subclass it, override `compute_loss` and pass the class to `RQVAETransformer` as
    `module` to train with another loss.

    Parameters
    ----------
    n_features : int
        Columns of a row.
    n_cat_features : int
        How many of them, the last, are binary.
    embed_dim : int
        Width of the latents.
    hidden_dims, decoder_hidden_dims : sequence of int
        Widths of the hidden layers of encoder and decoder.
    activation : str
        Name of the non-linearity, see `RQVAETransformer`.
    dropout : float
        Share of the perceptrons' hidden units silenced in training.
    linear_path : bool
        Linear maps beside the perceptrons of encoder and decoder.
    codebook_sizes : sequence of int
        Codes a level.
    codebook_modes : sequence of QuantizeForwardMode
        Gradient estimator a level.
    codebook_normalize, codebook_sim_vq : bool
        As in `RQVAETransformer`.
    n_beams : int
        Prefixes kept a row while codes are chosen in training.
    rerank : bool
        Let `assign` choose among thrice as many beams by their reconstructions.
    commitment_weight : float
        Weight of the commitment part of the loss.
    prefix_weight : float
        Weight of the loss of reconstructions from prefixes, and of the errors of
        prefixes where beams are compared.
    generator : torch.Generator, optional
        Draws the initial weights; None is torch's global generator. A subclass that
        adds layers must draw from it too for `random_state` to fix them.

    References
    ----------
    Lee et al. (2022), arXiv:2203.01941 (residual quantisation); van den Oord, Vinyals
    and Kavukcuoglu (2017), arXiv:1711.00937 (the loss); Rajput et al. (2023),
    arXiv:2305.05065 (semantic IDs).
    """

    input_mean: Tensor
    input_scale: Tensor
    noise_scale: Tensor
    noise_axes: Tensor
    price_keys: Tensor
    prices: Tensor

    def __init__(
        self,
        n_features: int,
        *,
        n_cat_features: int,
        embed_dim: int,
        hidden_dims: Sequence[int],
        decoder_hidden_dims: Sequence[int],
        activation: str,
        dropout: float,
        linear_path: bool,
        codebook_sizes: Sequence[int],
        codebook_modes: Sequence[QuantizeForwardMode],
        codebook_normalize: bool,
        codebook_sim_vq: bool,
        n_beams: int,
        rerank: bool,
        commitment_weight: float,
        prefix_weight: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_cat_features = n_cat_features
        self.rerank = rerank
        self.commitment_weight = commitment_weight
        self.prefix_weight = prefix_weight
        self.codebook_normalize = codebook_normalize
        perceptron = partial(
            SkipMLP,
            activation=activation,
            dropout=dropout,
            linear_path=linear_path,
            generator=generator,
        )
        self.encoder = perceptron(n_features, embed_dim, hidden_dims)
        self.decoder = perceptron(embed_dim, n_features, decoder_hidden_dims)
        self.quantizer = ResidualQuantizer(
            codebook_sizes,
            embed_dim,
            modes=codebook_modes,
            n_beams=n_beams,
            normalize=codebook_normalize,
            sim_vq=codebook_sim_vq,
            prefix_weight=prefix_weight,
            generator=generator,
        )
        # What a prefix lacks: the decoder sees the sum of its codes plus this offset.
        n_prefixes = len(codebook_sizes) - 1
        self.prefix_offsets = nn.Parameter(
            torch.zeros(n_prefixes, embed_dim, dtype=torch.float32)
        )
        self.register_buffer("input_mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("input_scale", torch.ones(n_features, dtype=torch.float64))
        self.register_buffer("noise_scale", torch.zeros((), dtype=torch.float32))
        # Rows that make noise of white noise; without a linear path it stays white.
        n_axes = embed_dim if linear_path else 0
        noise_axes = torch.zeros(n_axes, n_features, dtype=torch.float32)
        self.register_buffer("noise_axes", noise_axes)
        self._draws_noise = True
        self._generator: torch.Generator | None = None
        self.register_buffer("price_keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("prices", torch.zeros(0, dtype=torch.float64))

    def adjust(
        self,
        *,
        codebook_modes: Sequence[QuantizeForwardMode],
        commitment_weight: float,
        n_beams: int,
        prefix_weight: float,
        rerank: bool,
    ) -> None:
        """Change what can be changed in a trained model."""
        self.quantizer.modes = tuple(codebook_modes)
        self.quantizer.n_beams = n_beams
        self.quantizer.prefix_weight = prefix_weight
        self.commitment_weight = commitment_weight
        self.prefix_weight = prefix_weight
        self.rerank = rerank

    def set_mixed_precision(self, mixed_precision: bool) -> None:
        """Train encoder and decoder in bfloat16, or in float32."""
        self.encoder.mixed_precision = mixed_precision
        self.decoder.mixed_precision = mixed_precision

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Draw noise, prefixes, dropout and Gumbel samples from `generator`.

        None is torch's global generator.
        """
        self._generator = generator
        for layer in self.modules():
            if isinstance(layer, Dropout):
                layer.generator = generator

    def price_list(self) -> PriceList:
        """Prices of the IDs that several rows wanted."""
        return PriceList(self.price_keys, self.prices)

    def set_price_list(self, price_list: PriceList) -> None:
        """Charge for IDs from now on."""
        self.price_keys, self.prices = price_list

    def standardize(self, x: Tensor) -> Tensor:
        """Rows in the user's units, float64, to float32 around zero with unit scale."""
        return standardized(x, self.input_mean, self.input_scale)

    def restore(self, reconstruction: Tensor) -> Tensor:
        """Undo `standardize` on a reconstruction; logits become probabilities."""
        n_real = self.n_features - self.n_cat_features
        real, logits = reconstruction.double().split(
            [n_real, self.n_cat_features], dim=-1
        )
        real = real * self.input_scale[:n_real] + self.input_mean[:n_real]
        return torch.cat([real, torch.sigmoid(logits)], dim=-1)

    def encode(self, x: Tensor) -> Tensor:
        """Latents of standardised rows, ``(n, embed_dim)``."""
        latents = self.encoder(x)
        return F.normalize(latents, dim=-1) if self.codebook_normalize else latents

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised reconstruction of latents, ``(n, n_features)``.

        Binary columns are logits. A decoder that gives their standardised values would,
        near a half, be right to give four times as much as a logit.
        """
        decoded = self.decoder(latents)
        if not self.n_cat_features:
            return decoded
        n_real = self.n_features - self.n_cat_features
        slope = (4 * self.input_scale[n_real:]).to(decoded.dtype)
        share = self.input_mean[n_real:].clamp(_SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
        logits = torch.logit(share).to(decoded.dtype) + slope * decoded[:, n_real:]
        return torch.cat([decoded[:, :n_real], logits], dim=-1)

    def searched(self) -> SearchedStack:
        """What choosing IDs can prepare, once as long as the codebooks stay the same.

        What re-ranking gains comes from beams that are not the nearest to the latent,
        so there it has more of them to choose from than training has.
        """
        n_beams = self.quantizer.n_beams
        if self.rerank and n_beams > 1:
            n_beams *= CANDIDATES_PER_BEAM
        return self.quantizer.searched(n_beams)

    def candidates(
        self, x: Tensor, stack: SearchedStack | None = None
    ) -> tuple[Tensor, Tensor]:
        """IDs that standardised rows could have, and the error of each.

        The candidates are the beams that end nearest to the latent. What is near in
        latent space is not always near once decoded, so `rerank` measures the error of
        the reconstruction instead. What the errors of its prefixes cost a beam is added
        to either.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        stack : SearchedStack, optional
            What `searched` gives, to prepare it once for many batches.

        Returns
        -------
        codes : Tensor of shape (n, n_candidates, n_layers), int64
        costs : Tensor of shape (n, n_candidates), float64
        """
        stack = stack or self.searched()
        codes, errors, surcharges = stack.search(self.encode(x))
        n_candidates = codes.shape[1]
        if self.rerank and n_candidates > 1:
            decoded = self.reconstruct(codes.flatten(0, 1))
            decoded = decoded.unflatten(0, (-1, n_candidates))
            errors = self.row_losses(x.unsqueeze(1), decoded)
        return codes, (errors + surcharges).double()

    def assign(self, x: Tensor, stack: SearchedStack | None = None) -> Tensor:
        """Codes of standardised rows, ``(n, n_layers)``, int64: the cheapest candidate.

        A candidate costs its error, plus the price of its ID if it has one.
        """
        stack = stack or self.searched()
        if stack.n_beams == 1:
            return stack.best(self.encode(x))
        codes, costs = self.candidates(x, stack)
        if len(self.price_keys):
            costs = costs + look_up(self.price_list(), id_keys(codes))
        best = costs.argmin(1).view(-1, 1, 1).expand(-1, 1, codes.shape[2])
        return codes.gather(1, best).squeeze(1)

    def next_code_distances(self, x: Tensor, prefix: Tensor) -> Tensor:
        """Squared distances of latents to a prefix's sum plus each code after it.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Standardised rows.
        prefix : Tensor of shape (n, depth), int64

        Returns
        -------
        Tensor of shape (n, codebook_size)
        """
        residual = self.encode(x)
        depth = prefix.shape[1]
        if depth:
            residual = residual - self.quantizer.sum_of(prefix)
        codebook = self.quantizer.levels[depth].vectors()
        return squared_distances(residual, codebook).clamp_min(0)

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Standardised reconstruction of (prefixes of) codes."""
        latents = self.quantizer.sum_of(codes)
        depth = codes.shape[-1]
        if depth <= len(self.prefix_offsets):
            latents = latents + self.prefix_offsets[depth - 1]
        return self.decode(latents)

    def forward(self, x: Tensor) -> RQVAEOutput:
        """Quantise and reconstruct a batch of standardised rows, for training.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Standardised rows.

        Returns
        -------
        RQVAEOutput
        """
        latents = self.encode(self._noisy(x))
        codes, vectors, total, passed = self.quantizer(latents, self._generator)
        n_prefixes = len(self.prefix_offsets)
        if n_prefixes == 0 or self.prefix_weight == 0:
            decoded = self.decode(passed)
            return RQVAEOutput(x, latents, codes, total, decoded, None)
        n_coarse = math.ceil(PREFIX_BATCH_SHARE * len(x))
        # One pass of the decoder for both: fewer and larger products.
        prefixes, weights = self._prefixes(vectors[:n_coarse])
        decoded = self.decode(torch.cat([passed, prefixes]))
        whole, part = decoded.split([len(x), n_coarse])
        coarse = CoarseOutput(part, weights)
        return RQVAEOutput(x, latents, codes, total, whole, coarse)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or back; training asks here, once, whether there is noise.

        Reading the value in every step would make the host wait for the device.
        """
        if mode:
            self._draws_noise = bool(self.noise_scale > 0)
        return super().train(mode)

    def _noisy(self, x: Tensor) -> Tensor:
        if not (self.training and self._draws_noise):
            return x
        n_axes = len(self.noise_axes)
        noise = torch.randn(
            len(x),
            n_axes or x.shape[1],
            dtype=x.dtype,
            device=x.device,
            generator=self._generator,
        )
        if n_axes:
            noise = noise @ self.noise_axes
        return torch.addcmul(x, noise, self.noise_scale)

    def _prefixes(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder sees of rows cut at random, and what each counts."""
        n_prefixes = len(self.prefix_offsets)
        depths = torch.randint(
            n_prefixes,
            (len(vectors),),
            device=vectors.device,
            generator=self._generator,
        )
        levels = torch.arange(vectors.shape[1], device=vectors.device)
        kept = (levels <= depths.unsqueeze(1)).unsqueeze(2)
        latents = (vectors * kept).sum(1) + F.embedding(depths, self.prefix_offsets)
        return latents, self.quantizer.prefix_weights()[depths]

    def compute_loss(self, output: RQVAEOutput) -> dict[str, Tensor]:
        r"""The parts of the loss, named; training minimises their sum.

        Parameters
        ----------
        output : RQVAEOutput

        Returns
        -------
        dict of str to Tensor of shape ()
            ``reconstruction``, ``codebook``, ``commitment`` and, unless IDs have one
            code or `prefix_weight` is 0, ``prefix``. Every part of a subclass's
            dictionary is in the history as ``train_<name>``.

        Notes
        -----
        All parts have one scale: summed over dimensions, averaged over rows, divided by
        the number of features. With :math:`z` the latents, :math:`q` the sum of codes,
        :math:`\tilde x` the reconstruction from a prefix, :math:`\mathrm{sg}` the
        stop-gradient, :math:`\beta` the commitment weight and :math:`\gamma` the
        prefix weight times the square of the starting codebooks' error of all codes
        over that of as many as the prefix has,

        .. math:: \frac1d \left( \lVert x - \hat x \rVert^2
            + \lVert \mathrm{sg}(z) - q \rVert^2
            + \beta \lVert z - \mathrm{sg}(q) \rVert^2
            + \gamma \lVert x - \tilde x \rVert^2 \right) .

        The straight-through estimator pushes latents away from their codes about as
        hard as a commitment of weight 1 draws them back, so levels of that mode commit
        with thrice the weight. Levels of the rotation trick commit to the direction
        alone, with one and a half times the weight:
        :math:`2 \lVert z \rVert \lVert q \rVert (1 - \cos(z, q))`.

        Since rows are standardised, the reconstruction part of real columns is the
        share of variance that is not explained. Binary columns contribute their
        cross-entropy in nats instead of a squared error.
        """
        x, latents, quantized = output.inputs, output.latents, output.quantized
        share = latents.shape[1] / self.n_features
        parts = {
            "reconstruction": self.reconstruction_loss(x, output.reconstruction),
            "codebook": share * F.mse_loss(quantized, latents.detach()),
            "commitment": self.quantizer.commitment(
                latents, quantized.detach(), self.commitment_weight * share
            ),
        }
        if output.coarse is not None:
            reconstruction, weights = output.coarse
            losses = self.row_losses(x[: len(weights)], reconstruction)
            parts["prefix"] = (weights * losses).mean() / self.n_features
        return parts

    def reconstruction_loss(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Mean of `row_losses`, a feature."""
        if not self.n_cat_features:
            return F.mse_loss(reconstruction, x)
        return self.row_losses(x, reconstruction).mean() / self.n_features

    def row_losses(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Squared error of real columns plus cross-entropy of binary ones, ``(n,)``."""
        if not self.n_cat_features:
            return (x - reconstruction).square().sum(-1)
        n_real = self.n_features - self.n_cat_features
        losses = (x[..., :n_real] - reconstruction[..., :n_real]).square().sum(-1)
        share = x * self.input_scale + self.input_mean
        binary = (
            share[..., n_real:]
            .round()
            .to(x.dtype)
            .expand_as(reconstruction[..., n_real:])
        )
        entropies = F.binary_cross_entropy_with_logits(
            reconstruction[..., n_real:], binary, reduction="none"
        )
        return losses + entropies.sum(-1)
