"""A fitted transformer put together from parameters and tensors, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.history import History
from torch import Tensor

from sk_rqvae._initialization.latent_width import max_width
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._training.fit import new_net
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.seeds import new_generators
from sk_rqvae._training.settings import check_settings

_ONE_A_LEVEL = {
    "codebook_sizes": "codebook_size",
    "codebook_modes": "codebook_mode",
}
_ANY_SEED = 0


class _NoOptimizer(torch.optim.Optimizer):
    """Only training needs one, and with a real one come imports that take seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up nothing."""


def fitted_parameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the transformer that lead to these arguments of the module."""
    parameters = {_ONE_A_LEVEL.get(name, name): arguments[name] for name in arguments}
    del parameters["n_features"]
    return parameters | {"n_layers": len(arguments["codebook_sizes"])}


def adopt(estimator: Any, net: RQVAENet) -> None:
    """Give a transformer a trained net and what is read from it."""
    levels = net.module_.quantizer.levels
    estimator.net_ = net
    estimator.codebooks_ = [_to_numpy(level.codes()) for level in levels]
    estimator.codebook_gains_ = np.array(
        [1.0 if level.gain is None else level.gain.item() for level in levels]
    )
    estimator.n_iter_ = len(net.history)


def assemble(
    estimator: Any,
    n_features: int,
    tensors: Mapping[str, Tensor],
    history: list[dict[str, Any]],
    required: tuple[str, ...] = ("",),
) -> None:
    """Make a transformer fitted.

    Parameters
    ----------
    estimator : RQVAETransformer
        Whose parameters describe the model of the tensors.
    n_features : int
        Columns of `X`.
    tensors : mapping of str to Tensor
        The module's state.
    history : list of dict
        A row an epoch.
    required : tuple of str, default=("",)
        How the names of the tensors begin without which a model is not complete. Others
        that are not there stay as in an untrained model.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as documented, or the tensors are not those of the model
        that the parameters describe.
    """
    settings = check_settings(estimator)
    net = new_net(
        estimator,
        settings,
        n_features,
        estimator.embed_dim or max_width(n_features),
        new_generators(_ANY_SEED, settings.device),
        optimizer=_NoOptimizer,
    )
    net.generators_ = None
    _fill(net.module_, tensors, required)
    net.module_.eval()
    net.optimizer, net.optimizer_ = torch.optim.AdamW, None
    net.callbacks, net.callbacks_ = None, []
    net.history = History(history)
    estimator.n_features_in_ = n_features
    adopt(estimator, net)


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()


def _fill(
    module: RQVAEModule, tensors: Mapping[str, Tensor], required: tuple[str, ...]
) -> None:
    expected = module.state_dict()
    growing = {name for name, buffer in module.named_buffers() if buffer.numel() == 0}
    for name in sorted(expected.keys() - tensors.keys()):
        if name.startswith(required):
            raise ValueError(f"it lacks the tensor {name!r}")
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise ValueError(f"it has the tensor {unknown[0]!r}, which the model has not")
    for name, tensor in tensors.items():
        _check_alike(name, tensor, expected[name], any_length=name in growing)
        if name in growing:
            owner, _, attribute = name.rpartition(".")
            place = expected[name].device
            setattr(module.get_submodule(owner), attribute, tensor.to(place))
    module.load_state_dict({**module.state_dict(), **tensors})
    if len(module.price_keys) != len(module.prices):
        raise ValueError("its prices are not one for each of its price_keys")


def _check_alike(
    name: str, tensor: Tensor, expected: Tensor, *, any_length: bool
) -> None:
    """Type and shape are the model's; buffers that are empty at first can grow."""
    shape, wanted = tuple(tensor.shape), tuple(expected.shape)
    grown = any_length and shape[1:] == wanted[1:] and len(shape) == len(wanted)
    if tensor.dtype != expected.dtype or not (shape == wanted or grown):
        raise ValueError(
            f"its tensor {name!r} is {tensor.dtype} of shape {shape}, expected "
            f"{expected.dtype} of shape {wanted}"
        )
