"""The quantizer modes: the gradient estimator, code bias and commitment of each."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from sk_rqvae._model.commitment import angular_commitment, squared_commitment
from sk_rqvae._model.gradient_estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from sk_rqvae._model.greedy_search import CodeBias
from sk_rqvae._model.sinkhorn import sinkhorn_biases

GradientEstimator = Callable[
    [Tensor, Tensor, Tensor, Tensor, torch.Generator | None], Tensor
]
CommitmentLoss = Callable[[Tensor, Tensor], Tensor]


class ModeRule(NamedTuple):
    """What a mode computes in training.

    Attributes
    ----------
    estimate : callable
        The gradient estimator, see `gradient_estimators`.
    code_bias : callable or None
        Maps the squared distances of a training batch to one bias per code, which is
        subtracted before the nearest code is chosen. None means no bias.
    per_level : bool
        Whether each level has an estimate of its own. If not, neighbouring levels of
        this mode share one estimate of their sum.
    commitment : callable
        The commitment loss.
    """

    estimate: GradientEstimator
    code_bias: CodeBias | None = None
    per_level: bool = False
    commitment: CommitmentLoss = squared_commitment


class QuantizeForwardMode(StrEnum):
    """The gradient estimators; each member equals its string.

    Examples
    --------
    >>> from sk_rqvae import QuantizeForwardMode
    >>> QuantizeForwardMode("ste") is QuantizeForwardMode.STE
    True
    >>> [mode.value for mode in QuantizeForwardMode]
    ['gumbel_softmax', 'ste', 'rotation_trick', 'sinkhorn']
    """

    rule: ModeRule

    def __new__(cls, value: str, rule: ModeRule) -> QuantizeForwardMode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.rule = rule
        return member

    GUMBEL_SOFTMAX = "gumbel_softmax", ModeRule(gumbel_softmax, per_level=True)
    STE = "ste", ModeRule(straight_through)
    ROTATION_TRICK = (
        "rotation_trick",
        ModeRule(
            rotation_trick,
            per_level=True,
            commitment=angular_commitment,
        ),
    )
    SINKHORN = "sinkhorn", ModeRule(straight_through, code_bias=sinkhorn_biases)
