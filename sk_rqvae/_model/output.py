"""The output of a forward pass in training, from which the loss is computed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RQVAEOutput(NamedTuple):
    """Output of `RQVAEModule.forward`, and input of `RQVAEModule.compute_loss`.

    Attributes
    ----------
    inputs : Tensor of shape (n, width)
        The standardised rows, without noise. `width` is the number of features. With
        `affinity`, the predicted behaviour stands before the features, and counts too.
    latents : Tensor of shape (n, embed_dim)
        Output of the encoder for the rows with noise.
    codes : Tensor of shape (n, n_layers), int64
        The chosen codes.
    quantized : Tensor of shape (n, embed_dim)
        Sum of the chosen code vectors. Its gradient reaches the codebooks.
    reconstruction : Tensor of shape (n, width)
        Standardised reconstructions. The last `n_cat_features` columns are logits.
    """

    inputs: Tensor
    latents: Tensor
    codes: Tensor
    quantized: Tensor
    reconstruction: Tensor
