"""A new net, with the parameters of an estimator."""

from __future__ import annotations

from typing import Any

import torch

from sk_rqvae._model.private_generator import PrivateGenerator
from sk_rqvae._training.batches import Batches
from sk_rqvae._training.net import RQVAENet, SumOfTerms
from sk_rqvae._training.settings import Settings, module_arguments


def new_net(
    estimator: Any,
    settings: Settings,
    n_features: int,
    embed_dim: int,
    seed: int,
    *,
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
    behaviour_shape: tuple[int, int] = (0, 0),
    n_experts: int | None = None,
) -> RQVAENet:
    """An untrained net for rows of `n_features` columns; `seed` gives its weights."""
    arguments = module_arguments(estimator, settings, n_features, embed_dim)
    if n_experts is not None:
        arguments["n_experts"] = n_experts
    if behaviour_shape[1]:  # modules of users need not know of it
        arguments["behaviour_shape"] = behaviour_shape
    net = RQVAENet(
        module=estimator.module,
        criterion=SumOfTerms,
        optimizer=optimizer,
        optimizer__fused=True,
        optimizer__weight_decay=0.0,
        iterator_train=Batches,
        iterator_train__shuffle=True,
        iterator_valid=Batches,
        train_split=None,
        device=str(settings.device),
        **{f"module__{name}": value for name, value in arguments.items()},
    )
    set_training_parameters(net, estimator)
    with torch.device(settings.device), PrivateGenerator(seed):
        return net.initialize()


def set_training_parameters(net: RQVAENet, estimator: Any) -> None:
    """Set what a net trains with, new or continued."""
    net.lr = estimator.lr
    net.restart_dead_codes = estimator.restart_dead_codes
    net.verbose = int(estimator.verbose)


def set_weight_decay(net: RQVAENet, weight_decay: float) -> None:
    """Let the optimizer that comes next decay the weights of MLPs and experts."""
    decay = {"weight_decay": weight_decay}
    net.optimizer__param_groups = [
        (f"*coder.{part}.*.weight", decay) for part in ("mlp", "experts")
    ]
