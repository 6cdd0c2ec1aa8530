"""Encoder, residual quantizer and decoder, and the loss that trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._modes import QuantizeForwardMode
from sk_rqvae._residual import ResidualQuantizer

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


_SMALLEST_SHARE = 1e-3


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
    """

    inputs: Tensor
    latents: Tensor
    codes: Tensor
    quantized: Tensor
    reconstruction: Tensor


class SkipMLP(nn.Module):
    """A multi-layer perceptron, optionally beside a linear path from end to end.

    Parameters
    ----------
    n_in, n_out : int
        Widths of input and output.
    hidden_dims : sequence of int
        Widths of the hidden layers; empty leaves a linear map.
    activation : str
        A key of `ACTIVATIONS`.
    linear_path : bool
        Add a linear map of the input to the output. The perceptron's last layer then
        starts at zero, so that training begins from the linear map alone.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden_dims: Sequence[int],
        activation: str,
        *,
        linear_path: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_in
        for hidden in hidden_dims:
            layers += [nn.Linear(width, hidden), ACTIVATIONS[activation]()]
            width = hidden
        last = nn.Linear(width, n_out)
        self.mlp = nn.Sequential(*layers, last)
        self.linear = nn.Linear(n_in, n_out, bias=False) if linear_path else None
        if linear_path:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        bent = self.mlp(x)
        return bent if self.linear is None else bent + self.linear(x)


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
    hidden_dims : sequence of int
        Hidden layers of the encoder; the decoder mirrors them.
    activation : str
        Name of the non-linearity, see `RQVAETransformer`.
    linear_path : bool
        Linear maps beside the perceptrons of encoder and decoder.
    codebook_sizes : sequence of int
        Codes a level.
    codebook_modes : sequence of QuantizeForwardMode
        Gradient estimator a level.
    codebook_normalize, codebook_sim_vq : bool
        As in `RQVAETransformer`.
    n_beams : int
        Prefixes kept a row while codes are chosen.
    commitment_weight : float
        Weight of the commitment part of the loss.

    References
    ----------
    Lee et al. (2022), arXiv:2203.01941 (residual quantisation); van den Oord, Vinyals
    and Kavukcuoglu (2017), arXiv:1711.00937 (the loss); Rajput et al. (2023),
    arXiv:2305.05065 (semantic IDs).
    """

    input_mean: Tensor
    input_scale: Tensor
    noise_scale: Tensor

    def __init__(
        self,
        n_features: int,
        *,
        n_cat_features: int,
        embed_dim: int,
        hidden_dims: Sequence[int],
        activation: str,
        linear_path: bool,
        codebook_sizes: Sequence[int],
        codebook_modes: Sequence[QuantizeForwardMode],
        codebook_normalize: bool,
        codebook_sim_vq: bool,
        n_beams: int,
        commitment_weight: float,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_cat_features = n_cat_features
        self.commitment_weight = commitment_weight
        self.codebook_normalize = codebook_normalize
        self.encoder = SkipMLP(
            n_features, embed_dim, hidden_dims, activation, linear_path=linear_path
        )
        self.decoder = SkipMLP(
            embed_dim,
            n_features,
            hidden_dims[::-1],
            activation,
            linear_path=linear_path,
        )
        self.quantizer = ResidualQuantizer(
            codebook_sizes,
            embed_dim,
            modes=codebook_modes,
            n_beams=n_beams,
            normalize=codebook_normalize,
            sim_vq=codebook_sim_vq,
        )
        self.register_buffer("input_mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("input_scale", torch.ones(n_features, dtype=torch.float64))
        self.register_buffer("noise_scale", torch.zeros(()))

    def standardize(self, x: Tensor) -> Tensor:
        """Rows in the user's units, float64, to float32 around zero with unit scale."""
        return ((x - self.input_mean) / self.input_scale).float()

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

    def assign(self, x: Tensor) -> Tensor:
        """Codes of standardised rows, ``(n, n_layers)``, int64."""
        return self.quantizer.search(self.encode(x)).codes[:, 0]

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Standardised reconstruction of (prefixes of) codes."""
        return self.decode(self.quantizer.sum_of(codes))

    def forward(self, x: Tensor) -> RQVAEOutput:
        """Quantise and reconstruct a batch of standardised rows, for training."""
        latents = self.encode(x + self.noise_scale * torch.randn_like(x))
        codes, sums, passed = self.quantizer(latents)
        return RQVAEOutput(x, latents, codes, sums[-1], self.decode(passed[-1]))

    def compute_loss(self, output: RQVAEOutput) -> dict[str, Tensor]:
        r"""The parts of the loss, named; training minimises their sum.

        Parameters
        ----------
        output : RQVAEOutput

        Returns
        -------
        dict of str to Tensor of shape ()
            ``reconstruction``, ``codebook`` and ``commitment``. Every part of a
            subclass's dictionary is in the history as ``train_<name>``.

        Notes
        -----
        All parts have one scale: summed over dimensions, averaged over rows, divided by
        the number of features. With :math:`z` the latents, :math:`q` the sum of codes,
        :math:`\mathrm{sg}` the stop-gradient and :math:`\beta` the commitment weight,

        .. math:: \frac1d \left( \lVert x - \hat x \rVert^2
            + \lVert \mathrm{sg}(z) - q \rVert^2
            + \beta \lVert z - \mathrm{sg}(q) \rVert^2 \right) .

        Since rows are standardised, the reconstruction part of real columns is the
        share of variance that is not explained. Binary columns contribute their
        cross-entropy in nats instead of a squared error.
        """
        latents, quantized = output.latents, output.quantized
        gap = self.commitment_weight * _per_feature(latents - quantized.detach(), self)
        return {
            "reconstruction": self.reconstruction_loss(
                output.inputs, output.reconstruction
            ),
            "codebook": _per_feature(latents.detach() - quantized, self),
            "commitment": gap,
        }

    def reconstruction_loss(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Squared error of real columns and cross-entropy of binary ones, a feature."""
        n_real = self.n_features - self.n_cat_features
        loss = _per_feature(x[:, :n_real] - reconstruction[:, :n_real], self)
        if self.n_cat_features:
            share = x * self.input_scale + self.input_mean
            binary = share[:, n_real:].round().to(x.dtype)
            entropy = F.binary_cross_entropy_with_logits(
                reconstruction[:, n_real:], binary, reduction="sum"
            )
            loss = loss + entropy / (len(x) * self.n_features)
        return loss


def _per_feature(difference: Tensor, module: RQVAEModule) -> Tensor:
    """Sum over dimensions, average over rows, divide by the number of features."""
    return difference.square().sum() / (len(difference) * module.n_features)
