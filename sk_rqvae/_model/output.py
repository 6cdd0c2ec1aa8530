"""The output of a forward pass in training, from which the loss is computed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class CoarseOutput(NamedTuple):
    """Reconstructions from prefixes of random length, shorter than an ID.

    Attributes
    ----------
    reconstruction : Tensor of shape (m, n_features)
        Standardised reconstructions of the first ``m`` rows of the batch.
    weights : Tensor of shape (m,)
        Weight of the loss of each of these rows.
    """

    reconstruction: Tensor
    weights: Tensor


class RQVAEOutput(NamedTuple):
    """Output of `RQVAEModule.forward`, and input of `RQVAEModule.compute_loss`.

    Attributes
    ----------
    inputs : Tensor of shape (n, n_features)
        The standardised rows, without noise.
    latents : Tensor of shape (n, embed_dim)
        Output of the encoder for the rows with noise.
    codes : Tensor of shape (n, n_layers), int64
        The chosen codes.
    quantized : Tensor of shape (n, embed_dim)
        Sum of the chosen code vectors. Its gradient reaches the codebooks.
    reconstruction : Tensor of shape (n, n_features)
        Standardised reconstructions. The last `n_cat_features` columns are logits.
    coarse : CoarseOutput or None
        Reconstructions of some of the rows from prefixes. None if IDs have one code or
        `prefix_weight` is 0.
    """

    inputs: Tensor
    latents: Tensor
    codes: Tensor
    quantized: Tensor
    reconstruction: Tensor
    coarse: CoarseOutput | None
