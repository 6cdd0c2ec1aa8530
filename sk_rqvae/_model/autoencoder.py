"""From rows to latents, from codes to reconstructions, and the errors of these."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.beam_search import MAX_TABULATED_CODES
from sk_rqvae._model.behaviour_map import BehaviourMap, with_behaviour
from sk_rqvae._model.columns import Columns, standardized
from sk_rqvae._model.distances import squared_distances
from sk_rqvae._model.id_decoder import TabulatedDecoder, fits_in_tables
from sk_rqvae._model.kept_tables import KeptTables
from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import is_reduced
from sk_rqvae._model.residual_quantizer import ResidualQuantizer


class Autoencoder(nn.Module):
    """Encode standardised rows, decode codes and compare reconstructions with rows.

    `RQVAEModule` creates the parts and describes them.
    """

    width: int
    n_cat_features: int
    n_behaviour: int
    codebook_normalize: bool
    behaviour_map: BehaviourMap | None
    encoder: SkipMLP
    quantizer: ResidualQuantizer
    decoder: SkipMLP
    input_mean: Tensor
    input_scale: Tensor
    kept_tables: KeptTables

    def standardize(self, x: Tensor) -> Tensor:
        """Standardise rows in the user's units, ``(n, width)``, float32.

        With a behaviour map, the predicted behaviour is put in front of each row. The
        model then encodes and reconstructs both.
        """
        rows = standardized(x, self.input_mean, self.input_scale)
        return with_behaviour(rows, self.behaviour_map)

    def restore(self, reconstruction: Tensor) -> Tensor:
        """Invert `standardize` on reconstructions; logits become probabilities."""
        return self._columns().restore(reconstruction[..., self.n_behaviour :])

    def encode(self, x: Tensor) -> Tensor:
        """Latents of standardised rows, ``(n, embed_dim)``."""
        latents = self.encoder(x)
        return F.normalize(latents, dim=-1) if self.codebook_normalize else latents

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised reconstruction of latents, ``(n, width)``.

        The decoder predicts standardised values in all columns. Those of binary columns
        are then converted to logits.
        """
        return self._columns().with_logits(self.decoder(latents))

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Standardised reconstruction of IDs or of prefixes, ``(n, k)``."""
        return self.decode(self.quantizer.sum_of(codes))

    def tabulated_decoder(self, *, keep: bool = False) -> TabulatedDecoder | None:
        """Tables of the decoder for complete IDs, or None where these do not serve.

        They serve for a decoder with a linear path and not too many codes. There are
        none if a subclass overrides decoding, whose own methods are then used. With
        `keep`, they are those of an earlier call if nothing has changed since.
        """
        of_subclass = any(
            getattr(type(self), name) is not getattr(Autoencoder, name)
            for name in ("decode", "reconstruct", "row_losses")
        )
        has_tables = (
            type(self.decoder) is SkipMLP
            and self.decoder.linear is not None
            and sum(self.quantizer.sizes) <= MAX_TABULATED_CODES
            and fits_in_tables(self.decoder, sum(self.quantizer.sizes))
        )
        # Exporters do not know `embedding_bag`.
        if of_subclass or not has_tables or torch.compiler.is_compiling():
            return None
        codebooks, columns = self.quantizer.codebooks(), self._columns()

        def make() -> TabulatedDecoder:
            return TabulatedDecoder(self.decoder, codebooks, columns)

        if not keep:
            return make()
        # The tables read these themselves too.
        shared = [
            *self.decoder.parameters(),
            *self.decoder.buffers(),
            self.input_mean,
            self.input_scale,
        ]
        return self.kept_tables.of(
            weights=[*shared, *codebooks],
            settings=[
                self.n_cat_features,
                is_reduced(),
                *self.decoder.modules(),
                *(each.data_ptr() for each in shared),
                _stream_on(self.input_mean.device),
            ],
            make=make,
        )

    def next_code_distances(self, x: Tensor, prefix: Tensor) -> Tensor:
        """Squared distances of each latent to its prefix extended by each next code.

        Parameters
        ----------
        x : Tensor of shape (n, width)
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

    def row_losses(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Squared error of real columns plus cross-entropy of binary ones.

        Parameters
        ----------
        x : Tensor of shape (..., width)
            Standardised rows.
        reconstruction : Tensor of shape (..., width)
            Of as many rows, or of several candidates for each row: the leading
            dimensions are broadcast.

        Returns
        -------
        Tensor of shape (...)
            Sums over the last dimension.
        """
        return self._columns().row_losses(x, reconstruction)

    def reconstruction_loss(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Mean of `row_losses` over rows, divided by the width of a row."""
        is_usual = type(self).row_losses is Autoencoder.row_losses
        if is_usual and not self.n_cat_features:
            return F.mse_loss(reconstruction, x)
        return self.row_losses(x, reconstruction).mean() / self.width

    def _columns(self) -> Columns:
        return Columns(self.input_mean, self.input_scale, self.n_cat_features)


def _stream_on(device: torch.device) -> int | None:
    """The CUDA stream in use, by its number; None on a CPU.

    What was computed in it can be used in another one only after a wait.
    """
    if device.type != "cuda":
        return None
    return int(torch.cuda.current_stream(device).cuda_stream)
