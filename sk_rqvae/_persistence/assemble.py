"""A fitted transformer made of parameters and tensors, without training."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.history import History
from torch import Tensor

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._initialization.latent_width import max_width
from sk_rqvae._model.code_names import combined, names_of
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.checkpoint_module import CheckpointModule
from sk_rqvae._persistence.tensor_checks import check_values
from sk_rqvae._sklearn.module_parameters import PREFIX
from sk_rqvae._torch_settings import usual_torch_settings
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.new_net import new_net
from sk_rqvae._training.settings import check_settings, module_arguments

_PARAMETER_NAMES = {
    "codebook_sizes": "codebook_size",
    "codebook_modes": "codebook_mode",
}
_BEHAVIOUR = "behaviour_map.coefficients"
# Without them, codes have their first names, and none has been idle.
_OPTIONAL = {"code_names", "quantizer.idle_rows"}
_ANY_SEED = 0
# Weights that a model may have for each number of its file, and beyond them. Only an
# upper bound is known before the model is made, and small models do no harm.
_MARGIN = 4
_SMALL_MODEL = 1_000_000


class _NoOptimizer(torch.optim.Optimizer):
    """A stand-in for the optimizer, which takes seconds to import and is not needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up nothing."""


def fitted_parameters(
    arguments: Mapping[str, Any], of_module: Collection[str]
) -> dict[str, Any]:
    """Parameters of the transformer that give these arguments of the module.

    `of_module` are those parameters that a user's module has beyond the usual ones.
    """
    names = _PARAMETER_NAMES | {name.removeprefix(PREFIX): name for name in of_module}
    parameters = {names.get(name, name): arguments[name] for name in arguments}
    del parameters["n_features"]
    parameters.pop("behaviour_shape", None)  # the tensors have it
    return parameters | {"n_layers": len(arguments["codebook_sizes"])}


@usual_torch_settings()
def adopt(estimator: Any, net: RQVAENet) -> None:
    """Give a transformer a trained net and the attributes that come from it."""
    names, levels = names_of(net.module_), net.module_.quantizer.levels
    estimator.net_ = net
    estimator.codebooks_ = [
        _to_numpy(names.in_order(level.codes(), number, dim=0))
        for number, level in enumerate(levels)
    ]
    estimator.codebook_gains_ = np.array(
        [1.0 if level.gain is None else level.gain.item() for level in levels]
    )
    estimator.n_iter_ = len(net.history)


@usual_torch_settings()
def rename(estimator: Any, code_maps: Sequence[IntArray]) -> None:
    """Give a fitted transformer a copy of its net with other names of codes."""
    net = copy.deepcopy(estimator.net_)
    net.module_.code_names = combined(net.module_.code_names, code_maps)
    adopt(estimator, net)


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
        Its parameters describe the model of the tensors.
    n_features : int
        Number of columns of `X`.
    tensors : mapping of str to Tensor
        The state dict of the module. They can come from an untrusted file.
    history : list of dict
        One row per epoch.
    required : tuple of str, default=("",)
        Prefixes of the names of the tensors that must be there. Others keep the values
        of a new model if they are missing.

    Raises
    ------
    TypeError, ValueError
        If a parameter is invalid, or the tensors are not those of the model that the
        parameters describe, or a value is not finite.
    """
    settings = check_settings(estimator)
    for name, tensor in tensors.items():
        check_values(name, tensor)
    behaviour_shape = behaviour_shape_of(tensors)
    embed_dim = estimator.embed_dim or max_width(n_features + behaviour_shape[1])
    if estimator.module in (RQVAEModule, CheckpointModule):
        arguments = module_arguments(estimator, settings, n_features, embed_dim)
        _check_sizes(arguments, tensors)
    net = new_net(
        estimator,
        settings,
        n_features,
        embed_dim,
        _ANY_SEED,
        optimizer=_NoOptimizer,
        behaviour_shape=behaviour_shape,
    )
    _load(net.module_, tensors, required)
    net.module_.eval()
    net.optimizer, net.optimizer_ = torch.optim.AdamW, None
    net.drop_training_state()
    net.history = History(history)
    estimator.n_features_in_ = n_features
    adopt(estimator, net)


def behaviour_shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Number of centres and of outputs of a behaviour map; no outputs without one."""
    coefficients = tensors.get(_BEHAVIOUR)
    if coefficients is None:
        return (0, 0)
    if coefficients.dim() != 2:
        raise ValueError(
            f"its tensor {_BEHAVIOUR!r} must have two axes. Got {coefficients.dim()}"
        )
    n_centres, n_outputs = coefficients.shape
    return n_centres, n_outputs


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()


def _check_sizes(arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse to take memory for a model that is far larger than its tensors."""
    hidden, widened = arguments["hidden_dims"], arguments["decoder_hidden_dims"]
    sizes, embed_dim = arguments["codebook_sizes"], arguments["embed_dim"]
    n_tensors = len(hidden) + len(widened) + len(sizes)
    if n_tensors > len(tensors):
        raise ValueError(
            f"it has {len(tensors)} tensors, too few for {len(sizes)} levels and "
            f"{len(hidden) + len(widened)} hidden layers"
        )
    outer = arguments["n_features"] * embed_dim
    has_mlp = bool(widened) or not arguments["n_experts"]
    n_weights = (
        _n_weights([arguments["n_features"], *hidden, embed_dim])
        + has_mlp * _n_weights([embed_dim, *widened, arguments["n_features"]])
        + arguments["n_experts"]
        * _n_weights([embed_dim, *hidden[-1:], arguments["n_features"]])
        + sum(sizes) * embed_dim
        + arguments["codebook_sim_vq"] * len(sizes) * embed_dim**2
        + arguments["linear_path"] * 3 * outer
    )
    n_found = sum(tensor.numel() for tensor in tensors.values())
    if n_weights > _MARGIN * n_found + _SMALL_MODEL:
        raise ValueError(
            f"it has {n_found} numbers, too few for a model with {n_weights} weights"
        )


def _n_weights(widths: list[int]) -> int:
    return sum(n_in * n_out for n_in, n_out in pairwise(widths))


def _load(
    module: RQVAEModule, tensors: Mapping[str, Tensor], required: tuple[str, ...]
) -> None:
    expected = module.state_dict()
    for name in sorted(expected.keys() - tensors.keys() - _OPTIONAL):
        if name.startswith(required):
            raise ValueError(f"it lacks the tensor {name!r}")
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise ValueError(f"it has the tensor {unknown[0]!r}, which the model has not")
    _check_shapes(module, tensors)
    for name in _buffers_of_any_length(module) & tensors.keys():
        setattr(module, name, tensors[name].to(expected[name].device))
    module.load_state_dict({**module.state_dict(), **tensors})
    _check_prices(module)
    _check_code_names(module)


def _buffers_of_any_length(module: RQVAEModule) -> set[str]:
    """Buffers of the module itself that are empty in a new model, such as prices."""
    buffers = module.named_buffers(recurse=False)
    return {name for name, buffer in buffers if buffer.shape == (0,)}


def _check_shapes(module: RQVAEModule, tensors: Mapping[str, Tensor]) -> None:
    expected = module.state_dict()
    resizable = _buffers_of_any_length(module)
    for name in sorted(expected.keys() & tensors.keys()):
        tensor, wanted = tensors[name], expected[name]
        fits = tensor.shape == wanted.shape or (name in resizable and tensor.dim() == 1)
        if tensor.dtype != wanted.dtype or not fits:
            raise ValueError(
                f"its tensor {name!r} is {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}, expected {wanted.dtype} of shape "
                f"{tuple(wanted.shape)}"
            )


def _check_prices(module: RQVAEModule) -> None:
    keys, prices = module.price_keys, module.prices
    if len(keys) != len(prices):
        raise ValueError("its prices are not one for each of its price_keys")
    if not (keys[1:] > keys[:-1]).all():
        raise ValueError("its price_keys do not increase")


def _check_code_names(module: RQVAEModule) -> None:
    names, sizes = module.code_names.cpu(), module.quantizer.sizes
    if not len(names):
        return
    is_complete = len(names) == sum(sizes)
    n_before = 0
    for level in names.split(sizes) if is_complete else ():
        expected = torch.arange(n_before, n_before + len(level))
        is_complete = is_complete and torch.equal(level.sort().values, expected)
        n_before += len(level)
    if not is_complete:
        raise ValueError("its code_names do not name each code of each level once")
