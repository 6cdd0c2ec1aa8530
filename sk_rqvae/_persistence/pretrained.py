"""A fitted transformer as a folder of JSON and safetensors, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from sk_rqvae._checks.parameters import check_device
from sk_rqvae._checks.scalars import check_int
from sk_rqvae._inference.report import SemanticIDReport
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._persistence.assemble import assemble, fitted_parameters
from sk_rqvae._persistence.config import (
    OWN_MODULES,
    Config,
    config_of,
    config_text,
    module_name,
)
from sk_rqvae._persistence.folder import (
    check_folder,
    read_model,
    write_card,
    write_model,
)
from sk_rqvae._persistence.hub_download import local_folder
from sk_rqvae._persistence.json_values import from_json_value
from sk_rqvae._persistence.model_card import ANY_NAME, model_card
from sk_rqvae._persistence.model_names import CONFIG_NAME
from sk_rqvae._persistence.weights import (
    check_codebooks,
    take,
    weights_name,
    weights_of,
)
from sk_rqvae._sklearn.module_parameters import PREFIX, is_own
from sk_rqvae._training.present_device import present_device
from sk_rqvae._training.settings import check_settings

Estimator = TypeVar("Estimator")


def save_pretrained(
    estimator: Any,
    folder: str | PathLike[str],
    report: SemanticIDReport | None = None,
    *,
    name: str = ANY_NAME,
) -> None:
    """Write a fitted transformer to a folder; see `RQVAETransformer`.

    The model card says that `name` is what to load.
    """
    if not os.fspath(folder):
        raise ValueError("folder must have a name. Got ''. The current one is '.'.")
    if not isinstance(report, SemanticIDReport | None):
        raise TypeError(
            f"report must be a SemanticIDReport or None. Got {type(report).__name__}."
        )
    target = Path(folder)
    check_folder(target)
    weights = weights_of(estimator)
    config = config_of(estimator, weights.digest)
    card = model_card(estimator, report, name)
    write_model(target, weights, config_text(config), card)


def add_report(
    estimator: Any, folder: str | PathLike[str], report: SemanticIDReport
) -> None:
    """Add a report to the card of a transformer that `save_pretrained` wrote."""
    card = model_card(estimator, report, ANY_NAME)
    write_card(Path(folder), weights_of(estimator).digest, card)


def from_pretrained(
    cls: type[Estimator],
    folder: str | PathLike[str],
    module: type[RQVAEModule] | None,
    device: str | torch.device | None,
    revision: str | None = None,
) -> Estimator:
    """Read what `save_pretrained` wrote; see `RQVAETransformer`."""
    if device is not None:
        check_device(device)
    source = local_folder(folder, revision)
    config, tensors = read_model(source)
    path = source / CONFIG_NAME
    weights = source / weights_name(config["weights_sha256"])
    try:
        kind = _module_class(config["module"], module)
        model = _described_model(cls, config, kind, device)
        params = {
            name: from_json_value(name, value)
            for name, value in config["params"].items()
        } | {"module": kind}
        if device is not None:
            params["device"] = device
        names = _feature_names(config)
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    try:
        assemble(
            model,
            config["n_features_in"],
            take(tensors, "module."),
            config["history"],
        )
        check_codebooks(model, take(tensors, "codebooks."))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{weights} does not fit {path}: {error}.") from error
    if names is not None:
        model.feature_names_in_ = names
    for name in vars(model).keys() - params.keys():
        if is_own(name):
            delattr(model, name)
    return model.set_params(**params)


def _module_class(name: str, given: Any) -> type[RQVAEModule]:
    if given is None:
        if name not in OWN_MODULES:
            raise ValueError(
                f"the model is of the class {name!r}, which is not part of sk_rqvae. "
                "A file must not choose what is imported: pass the class as module."
            )
        return OWN_MODULES[name]
    if not (isinstance(given, type) and issubclass(given, RQVAEModule)):
        raise TypeError(f"module must be a subclass of RQVAEModule. Got {given!r}.")
    if _class_name(module_name(given)) != _class_name(name):
        raise ValueError(
            f"module must be the class of the saved model, {name!r}. Got {given!r}."
        )
    return given


def _class_name(name: str) -> str:
    """The class without its file, which changes when a script becomes a package."""
    return name.rpartition(":")[2]


def _described_model(
    cls: type[Any],
    config: Config,
    module: type[RQVAEModule],
    device: str | torch.device | None,
) -> Any:
    """An unfitted transformer with the parameters that the model was fitted with.

    They differ from the transformer's own if `set_params` was called after `fit`.
    """
    of_module = set(filter(is_own, config["params"]))
    # One that was deleted after the fit is still one of the module that was fitted.
    of_module |= _own_arguments(module, config["fitted"])
    known = cls(module=module).get_params(deep=False).keys() | of_module
    unknown = sorted(config["params"].keys() - known)
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}.")
    params, fitted = (
        {name: from_json_value(name, value) for name, value in config[part].items()}
        for part in ("params", "fitted")
    )
    n_features = check_int("n_features_in", config["n_features_in"], minimum=1)
    if fitted.get("n_features") != n_features:
        raise ValueError("'n_features' differs from 'n_features_in'.")
    parameters = fitted_parameters(fitted, of_module)
    unknown = sorted(parameters.keys() - known)
    if unknown:
        raise ValueError(f"unknown argument {unknown[0]!r} of the module.")
    own = params | {"module": module}
    if device is None:
        device = present_device(
            own.get("device", "auto"),
            to_train_there="Pass device={} to also train there",
            stacklevel=4,
        )
    own["device"] = device
    check_settings(cls(**own))
    # One that was set after the fit is none of the module that was fitted.
    of_transformer = {name: own[name] for name in own.keys() - of_module}
    model = cls(**of_transformer | parameters)
    check_settings(model)
    if model.n_cat_features > n_features:
        raise ValueError(f"n_cat_features is larger than n_features, {n_features}.")
    return model


def _own_arguments(module: type[RQVAEModule], fitted: Mapping[str, Any]) -> set[str]:
    """Parameters that a user's module was fitted with and others do not have."""
    if module in OWN_MODULES.values():
        return set()
    usual = signature(RQVAEModule).parameters.keys()
    return {f"{PREFIX}{name}" for name in fitted.keys() - usual}


def _feature_names(config: Config) -> Any:
    names = config["feature_names_in"]
    if names is None:
        return None
    if len(names) != config["n_features_in"] or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError("'feature_names_in' is not one string per column.")
    return np.array(names, dtype=object)
