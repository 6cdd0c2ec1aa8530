"""The model that is trained: its parts, its forward pass and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.assignment import IDAssignment
from sk_rqvae._model.behaviour_map import BehaviourMap
from sk_rqvae._model.kept_tables import KeptTables
from sk_rqvae._model.mlp import Dropout, SkipMLP
from sk_rqvae._model.modes import QuantizeForwardMode
from sk_rqvae._model.output import RQVAEOutput
from sk_rqvae._model.residual_quantizer import ResidualQuantizer


class RQVAEModule(IDAssignment):
    """A residual-quantised autoencoder (RQ-VAE) over standardised rows.

    An encoder maps each row to a latent, a residual quantizer replaces the latent by a
    sum of code vectors, one per level, and a decoder maps this sum to a reconstruction.
    The codes are the row's semantic ID.

    To train with another loss, subclass it, override `compute_loss` and pass the class
    to `RQVAETransformer` as `module`.

    Parameters
    ----------
    n_features : int
        Columns of a row.
    n_cat_features : int
        Number of binary columns. They are the last ones.
    embed_dim : int
        Width of the latents.
    hidden_dims, decoder_hidden_dims : sequence of int
        Widths of the hidden layers of encoder and decoder.
    activation : str
        Activation function of the hidden layers, see `RQVAETransformer`.
    dropout : float
        Dropout probability of the hidden units.
    linear_path : bool
        Whether encoder and decoder have a linear path beside their MLP.
    codebook_sizes : sequence of int
        Codes per level.
    codebook_modes : sequence of QuantizeForwardMode
        Gradient estimator of each level.
    codebook_normalize, codebook_sim_vq : bool
        As in `RQVAETransformer`.
    n_beams : int
        Beams of the search for codes. Training searches greedily.
    rerank : bool
        Whether `assign` chooses among the candidates by the errors of their
        reconstructions.
    commitment_weight : float
        Weight of the commitment loss.
    noise : float
        Factor on the input noise of training, see `noise_scale`.
    behaviour_shape : tuple of int, default=(0, 0)
        Number of centres and of outputs of the behaviour map. Without outputs there is
        none.
    n_experts : int, default=0
        Number of experts of the decoder, each with as many hidden units as the last
        hidden layer of the encoder, see `Experts`.

    Attributes
    ----------
    noise_scale : Tensor of shape ()
        Factor on the input noise for ``noise=1``. Without a linear path it is the
        standard deviation.
    noise_axes : Tensor of shape (embed_dim, width)
        Maps white noise of the latents to the input, as large as the initial
        quantisation error. Without a linear path it has no rows.

    References
    ----------
    Lee et al. (2022), arXiv:2203.01941 (residual quantisation); van den Oord, Vinyals
    and Kavukcuoglu (2017), arXiv:1711.00937 (the loss); Rajput et al. (2023),
    arXiv:2305.05065 (semantic IDs).
    """

    noise_scale: Tensor
    noise_axes: Tensor

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
        noise: float,
        behaviour_shape: tuple[int, int] = (0, 0),
        n_experts: int = 0,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_behaviour = behaviour_shape[1]
        self.width = self.n_behaviour + n_features
        self.behaviour_map = None
        if self.n_behaviour:
            self.behaviour_map = BehaviourMap(n_features, *behaviour_shape)
        self.n_cat_features = n_cat_features
        self.rerank = rerank
        self.commitment_weight = commitment_weight
        self.noise = noise
        self.codebook_normalize = codebook_normalize
        mlp = partial(
            SkipMLP,
            activation=activation,
            dropout=dropout,
            linear_path=linear_path,
        )
        self.encoder = mlp(self.width, embed_dim, hidden_dims)
        self.decoder = mlp(
            embed_dim,
            self.width,
            decoder_hidden_dims,
            n_experts=n_experts,
            expert_width=hidden_dims[-1] if n_experts else 0,
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
        self.register_buffer("noise_scale", torch.zeros((), dtype=torch.float32))
        n_axes = embed_dim if linear_path else 0
        noise_axes = torch.zeros(n_axes, self.width, dtype=torch.float32)
        self.register_buffer("noise_axes", noise_axes)
        self.kept_tables = KeptTables()
        self._draws_noise = True
        self._generator: torch.Generator | None = None
        self.register_buffer("price_keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("prices", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("code_names", torch.zeros(0, dtype=torch.int64))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Accept any number of prices and names; new modules have none.

        Weights of earlier versions have neither names nor `idle_rows`.
        """
        state_dict.setdefault(f"{prefix}code_names", self.code_names.new_zeros(0))
        idle = torch.zeros_like(self.quantizer.idle_rows)
        state_dict.setdefault(f"{prefix}quantizer.idle_rows", idle)
        for name in ("price_keys", "prices", "code_names"):
            loaded = state_dict.get(prefix + name)
            if loaded is not None and loaded.dim() == 1:
                setattr(self, name, getattr(self, name).new_zeros(len(loaded)))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def adjust(
        self,
        *,
        codebook_modes: Sequence[QuantizeForwardMode],
        commitment_weight: float,
        dropout: float,
        n_beams: int,
        noise: float,
        rerank: bool,
    ) -> None:
        """Change the settings that can change when training continues."""
        self.quantizer.modes = tuple(codebook_modes)
        self.quantizer.n_beams = n_beams
        self.commitment_weight = commitment_weight
        self.noise = noise
        self.rerank = rerank
        for layer in self.modules():
            if isinstance(layer, Dropout):
                layer.probability = dropout

    def set_mixed_precision(self, mixed_precision: bool) -> None:
        """Set whether encoder and decoder train in bfloat16 rather than float32."""
        self.encoder.mixed_precision = mixed_precision
        self.decoder.mixed_precision = mixed_precision

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Draw noise, dropout and Gumbel samples from `generator`.

        None is torch's global generator.
        """
        self._generator = generator
        for layer in self.modules():
            if isinstance(layer, Dropout):
                layer.generator = generator

    def forward(self, x: Tensor) -> RQVAEOutput:
        """Quantise and reconstruct a batch of standardised rows, for training."""
        latents = self.encode(self._add_noise(x))
        codes, total, decoder_input = self.quantizer(latents, self._generator)
        return RQVAEOutput(x, latents, codes, total, self.decode(decoder_input))

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation.

        Whether there is noise is read here, because reading `noise_scale` in every step
        would make the CPU wait for the GPU.
        """
        if mode:
            self._draws_noise = self.noise > 0 and bool(self.noise_scale > 0)
        return super().train(mode)

    def step_branches(self) -> tuple[bool, ...]:
        """The Python values, set by `train`, that decide what a step computes."""
        return self._draws_noise, self.quantizer.uses_biases

    def _add_noise(self, x: Tensor) -> Tensor:
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
        return torch.addcmul(x, noise, self.noise_scale, value=self.noise)

    def compute_loss(self, output: RQVAEOutput) -> dict[str, Tensor]:
        r"""Compute the terms of the loss; training minimises their sum.

        Parameters
        ----------
        output : RQVAEOutput

        Returns
        -------
        dict of str to Tensor of shape ()
            ``reconstruction``, ``codebook`` and ``commitment``. The history records
            every entry, also those of a subclass, as ``train_<name>``.

        Notes
        -----
        All terms are sums over dimensions and means over rows, divided by the width of
        a row, so that they have one scale. For one row the loss is

        .. math:: \frac1d \left( \lVert x - \hat x \rVert^2
            + \lVert \mathrm{sg}(z) - q \rVert^2
            + \beta \lVert z - \mathrm{sg}(q) \rVert^2 \right)

        with

        - :math:`d` the width of the standardised row, :math:`x` the standardised row,
          :math:`\hat x` its reconstruction and :math:`\mathrm{sg}` the stop-gradient,
        - :math:`z` the latent and :math:`q` the sum of its code vectors, and
        - :math:`\beta` the commitment weight.

        In the commitment term, levels of the rotation trick have the cosine loss
        :math:`\lVert z \rVert \lVert q \rVert (1 - \cos(z, q))` instead, see
        `angular_commitment`.

        Since rows are standardised, the reconstruction loss of real columns is the
        unexplained share of their variance, if there is no behaviour. Binary columns
        contribute their cross-entropy, in nats, instead of a squared error.
        """
        x, latents, quantized = output.inputs, output.latents, output.quantized
        # Turns a mean over latent dimensions into a sum divided by the width.
        scale = latents.shape[1] / self.width
        return {
            "reconstruction": self.reconstruction_loss(x, output.reconstruction),
            "codebook": scale * F.mse_loss(quantized, latents.detach()),
            "commitment": self.quantizer.commitment(
                latents, quantized.detach(), self.commitment_weight * scale
            ),
        }
