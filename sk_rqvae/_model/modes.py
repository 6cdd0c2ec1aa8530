"""The quantizer modes: which gradient estimator, prices and commitment each has."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from sk_rqvae._defaults import ROTATION_COMMITMENT, STE_COMMITMENT
from sk_rqvae._model.commitment import angular_commitment, squared_commitment
from sk_rqvae._model.gradient_estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from sk_rqvae._model.sinkhorn import sinkhorn_prices

Estimator = Callable[[Tensor, Tensor, Tensor, Tensor, torch.Generator | None], Tensor]
Prices = Callable[[Tensor], Tensor]
Commitment = Callable[[Tensor, Tensor], Tensor]


class Behaviour(NamedTuple):
    """What a mode does.

    Attributes
    ----------
    estimate : callable
        The gradient estimator.
    prices : callable or None
        From the distances of a batch to prices of the codes, while training.
    level_by_level : bool
        Estimate each level by itself, not the sum over neighbouring levels.
    commitment : callable
        The loss that draws latents to what was chosen for them.
    pull : float
        Weight of that loss beside that of other modes.
    """

    estimate: Estimator
    prices: Prices | None = None
    level_by_level: bool = False
    commitment: Commitment = squared_commitment
    pull: float = 1.0


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

    behaviour: Behaviour

    def __new__(cls, value: str, behaviour: Behaviour) -> QuantizeForwardMode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.behaviour = behaviour
        return member

    GUMBEL_SOFTMAX = "gumbel_softmax", Behaviour(gumbel_softmax, level_by_level=True)
    STE = "ste", Behaviour(straight_through, pull=STE_COMMITMENT)
    ROTATION_TRICK = (
        "rotation_trick",
        Behaviour(
            rotation_trick,
            level_by_level=True,
            commitment=angular_commitment,
            pull=ROTATION_COMMITMENT,
        ),
    )
    SINKHORN = "sinkhorn", Behaviour(straight_through, prices=sinkhorn_prices)
