"""Instead of steps one and two of a fit: continue from a fitted net."""

from __future__ import annotations

import copy
from typing import Any

import joblib
from scipy.sparse import csr_array
from skorch.history import History

from sk_rqvae._initialization.behaviour import new_behaviour_map, updated_behaviour_map
from sk_rqvae._model.id_prices import no_prices
from sk_rqvae._sklearn.module_parameters import module_parameters
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.new_net import set_training_parameters
from sk_rqvae._training.settings import module_arguments
from sk_rqvae._training.task import Task

_ADJUSTABLE = (
    "codebook_modes",
    "commitment_weight",
    "dropout",
    "n_beams",
    "noise",
    "rerank",
)


class _NotSet:
    """Stands for the value of a parameter that is not set."""

    def __repr__(self) -> str:
        return "not set"


_NOT_SET = _NotSet()


def continued_net(estimator: Any, task: Task, earlier: RQVAENet) -> RQVAENet:
    """A copy of a fitted net, ready to train on."""
    net = _copy_of(earlier, estimator, task)
    if task.affinity is not None and estimator.affinity_weight:
        _update_behaviour(net, task, task.affinity)
    return net


def _copy_of(earlier: RQVAENet, estimator: Any, task: Task) -> RQVAENet:
    """A copy to train, so that an interruption leaves the fitted net as it is."""
    # A deep copy of a long history would take longer than a short training.
    history = History(map(_copied_row, earlier.history_))
    net = copy.deepcopy(earlier, {id(earlier.history_): history})
    embed_dim = estimator.embed_dim or net.module__embed_dim
    behaviour_map = net.module_.behaviour_map
    if behaviour_map is not None:
        _check_unchanged(
            "affinity_weight", float(behaviour_map.weight), estimator.affinity_weight
        )
    wanted = module_arguments(estimator, task.settings, task.n_features, embed_dim)
    if estimator.n_experts is None:
        wanted["n_experts"] = net.module__n_experts
    _check_unchanged("module", net.module, estimator.module)
    sizes = net.module__codebook_sizes, wanted["codebook_sizes"]
    _check_unchanged("n_layers", *map(len, sizes))
    _check_unchanged("codebook_size", *sizes)
    own = {name: wanted.pop(name) for name in module_parameters(estimator)}
    # Of the earlier net, whose values are the user's own objects and not copies.
    fitted = earlier.get_params_for("module")
    fitted.pop("behaviour_shape", None)
    of_user = {name: fitted.pop(name) for name in fitted.keys() - wanted.keys()}
    for name in sorted(own.keys() | of_user.keys()):
        values = of_user.get(name, _NOT_SET), own.get(name, _NOT_SET)
        if not _are_equal(*values):
            raise _changed(f"module__{name}", *values)
    for name, value in fitted.items():
        if name not in _ADJUSTABLE:
            _check_unchanged(name, value, wanted[name])
    for name in _ADJUSTABLE:
        setattr(net, f"module__{name}", wanted[name])
    module = net.module_.to(task.settings.device)
    if module.rerank != wanted["rerank"]:  # which decides the unit of prices
        module.set_price_list(no_prices(task.settings.device))
    module.adjust(**{name: wanted[name] for name in _ADJUSTABLE})
    net.device = str(task.settings.device)
    set_training_parameters(net, estimator)
    return net


def _copied_row(row: dict[str, Any]) -> dict[str, Any]:
    """An epoch of a history, whose lists training and callbacks may change."""
    return {
        name: list(value) if isinstance(value, list) else value
        for name, value in row.items()
    }


def _update_behaviour(net: RQVAENet, task: Task, affinity: csr_array) -> None:
    """Let the behaviour map of a net know the affinity of these rows too."""
    module = net.module_
    data = task.behaviour(affinity, module.input_mean, module.input_scale)
    if module.behaviour_map is None:
        if new_behaviour_map(data, 1.0) is None:  # with a warning
            return
        raise ValueError(
            "affinity must have an effect in the first fit if later ones have it. In "
            "that of this model there was none, it had no groups, or affinity_weight "
            "was 0. Fit anew with warm_start=False."
        )
    module.behaviour_map = updated_behaviour_map(data, module.behaviour_map)
    net.module__behaviour_shape = module.behaviour_map.shape


def _check_unchanged(name: str, fitted: Any, wanted: Any) -> None:
    if wanted != fitted:
        raise _changed(name, fitted, wanted)


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two values are the same object, equal numbers, or pickled alike.

    Not all values of users can be compared by ``==``.
    """
    if isinstance(one, int | float) and isinstance(other, int | float) and one == other:
        return True
    same: bool = one is other or joblib.hash(one) == joblib.hash(other)
    return same


def _changed(name: str, fitted: Any, wanted: Any) -> ValueError:
    return ValueError(
        f"{name} is {fitted!r} in the fitted model and cannot be changed while "
        f"training continues. Got {wanted!r}."
    )
