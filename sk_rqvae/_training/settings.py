"""Check the parameters of the transformer and convert them for the model."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import torch

from sk_rqvae._checks.parameters import (
    MAX_SIZE,
    check_callbacks,
    check_device,
    check_modes,
    check_seed,
    check_sizes,
    check_verbose,
    check_widths,
)
from sk_rqvae._checks.scalars import check_bool, check_choice, check_int, check_real
from sk_rqvae._model.mlp import ACTIVATIONS
from sk_rqvae._model.modes import QuantizeForwardMode
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._sklearn.module_parameters import module_parameters

# As many as a saved model can have.
_MAX_LAYERS = 10_000
SCHEDULES = ("cosine", "constant")
MIXED_PRECISIONS = ("auto", "bf16", "no")

_BY_NAME = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BYTES_PER_MB = 2**20
_MAX_RESIDENT_MB = 1e12  # more than any memory, and few enough to count bytes
_MAX_FACTOR = 1e30  # far more than is of use, and a number of float32
# Fixed, not a share of the free memory: rows that are streamed are shuffled in another
# way, so that one seed would give another model where other memory is free.
_AUTO_RESIDENT_MB = {"cpu": 512, "cuda": 8192}
_CUDA_WITH_BF16 = (8, 0)
_CPU_WITH_BF16 = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Settings:
    """Parameters of the transformer that the checks convert."""

    device: torch.device
    codebook_sizes: tuple[int, ...]
    codebook_modes: tuple[QuantizeForwardMode, ...]
    hidden_dims: tuple[int, ...]
    decoder_hidden_dims: tuple[int, ...]
    n_experts: int | None
    callbacks: list[Any]
    resident_bytes: int
    mixed_precision: bool


def check_settings(estimator: Any) -> Settings:
    """Check every parameter of a transformer.

    Raises
    ------
    TypeError, ValueError
        Naming the first parameter that is wrong.
    """
    n_layers = check_int("n_layers", estimator.n_layers, minimum=1, maximum=_MAX_LAYERS)
    sizes = check_sizes(estimator.codebook_size, n_layers)
    modes = check_modes(estimator.codebook_mode, n_layers)
    hidden_dims = check_widths("hidden_dims", estimator.hidden_dims)
    decoder_hidden_dims = _decoder_hidden_dims(estimator, hidden_dims)
    n_experts = _n_experts(estimator, hidden_dims)
    if estimator.embed_dim is not None:
        check_int("embed_dim", estimator.embed_dim, minimum=1, maximum=MAX_SIZE)
    _check_model(estimator)
    _check_training(estimator)
    device = check_device(estimator.device)
    return Settings(
        device,
        sizes,
        modes,
        hidden_dims,
        decoder_hidden_dims,
        n_experts,
        check_callbacks(estimator.callbacks, estimator.lr_schedule),
        _resident_bytes(estimator.resident_mb, device),
        _uses_bf16(estimator.mixed_precision, device),
    )


def module_arguments(
    estimator: Any, settings: Settings, n_features: int, embed_dim: int
) -> dict[str, Any]:
    """Arguments of the module for rows of `n_features` columns."""
    return {
        "n_features": n_features,
        "n_cat_features": estimator.n_cat_features,
        "embed_dim": embed_dim,
        "hidden_dims": settings.hidden_dims,
        "activation": estimator.activation,
        "dropout": float(estimator.dropout),
        "linear_path": estimator.linear_path,
        "decoder_hidden_dims": settings.decoder_hidden_dims,
        "n_experts": settings.n_experts,
        "codebook_sizes": settings.codebook_sizes,
        "codebook_modes": settings.codebook_modes,
        "codebook_normalize": estimator.codebook_normalize,
        "codebook_sim_vq": estimator.codebook_sim_vq,
        "n_beams": estimator.n_beams,
        "rerank": estimator.rerank,
        "commitment_weight": float(estimator.commitment_weight),
        "noise": float(estimator.noise),
        **module_parameters(estimator),
    }


def _decoder_hidden_dims(
    estimator: Any, hidden_dims: tuple[int, ...]
) -> tuple[int, ...]:
    if estimator.decoder_hidden_dims is not None:
        return check_widths("decoder_hidden_dims", estimator.decoder_hidden_dims)
    return tuple(reversed(hidden_dims))


def _n_experts(estimator: Any, hidden_dims: tuple[int, ...]) -> int | None:
    linear_path = check_bool("linear_path", estimator.linear_path)
    can_have_experts = bool(linear_path and hidden_dims)
    if estimator.n_experts is None:
        is_usual = estimator.decoder_hidden_dims is None and len(hidden_dims) == 1
        return None if can_have_experts and is_usual else 0
    n_experts = check_int("n_experts", estimator.n_experts, minimum=0, maximum=MAX_SIZE)
    if n_experts and not can_have_experts:
        raise ValueError(
            "n_experts must be 0 or None without a linear path or without hidden "
            f"layers. Got {n_experts} with linear_path={estimator.linear_path} and "
            f"hidden_dims={hidden_dims}."
        )
    return n_experts


def _check_model(estimator: Any) -> None:
    check_choice("activation", estimator.activation, ACTIVATIONS)
    check_real("dropout", estimator.dropout, low=0, high=1, high_open=True)
    check_real(
        "commitment_weight", estimator.commitment_weight, low=0, high=_MAX_FACTOR
    )
    check_bool("codebook_kmeans_init", estimator.codebook_kmeans_init)
    check_bool("codebook_normalize", estimator.codebook_normalize)
    check_bool("codebook_sim_vq", estimator.codebook_sim_vq)
    check_int("n_beams", estimator.n_beams, minimum=1)
    check_bool("rerank", estimator.rerank)
    separate_ids = estimator.separate_ids
    if not (isinstance(separate_ids, str) and separate_ids == "auto"):
        check_bool("separate_ids", separate_ids, others=' or "auto"')
    check_real("noise", estimator.noise, low=0, high=_MAX_FACTOR)
    check_real("affinity_weight", estimator.affinity_weight, low=0, high=_MAX_FACTOR)
    check_int("n_cat_features", estimator.n_cat_features, minimum=0)
    check_int("init_sample_size", estimator.init_sample_size, minimum=1)
    module = estimator.module
    if not (isinstance(module, type) and issubclass(module, RQVAEModule)):
        raise TypeError(f"module must be a subclass of RQVAEModule. Got {module!r}.")
    _check_module_parameters(module, module_parameters(estimator))


def _check_module_parameters(module: type[RQVAEModule], own: dict[str, Any]) -> None:
    set_here = own.keys() & signature(RQVAEModule).parameters.keys()
    if set_here:
        name = min(set_here)
        raise ValueError(
            f"module__{name} must not be set: the transformer passes {name} itself."
        )
    parameters = signature(module).parameters.values()
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters)
    taken = {each.name for each in parameters if each.kind in _BY_NAME}
    unknown = sorted(own.keys() - taken)
    if unknown and not takes_any:
        raise ValueError(
            f"module__{unknown[0]} must be a parameter of the module. Got "
            f"{module.__name__}, which has none of this name."
        )


def _check_training(estimator: Any) -> None:
    check_bool("restart_dead_codes", estimator.restart_dead_codes)
    if estimator.max_epochs is not None:
        check_int("max_epochs", estimator.max_epochs, minimum=1)
    check_int("batch_size", estimator.batch_size, minimum=1)
    check_real("lr", estimator.lr, low=0, low_open=True)
    if estimator.weight_decay is not None:
        check_real("weight_decay", estimator.weight_decay, low=0)
    check_choice("lr_schedule", estimator.lr_schedule, SCHEDULES)
    check_int("warmup_epochs", estimator.warmup_epochs, minimum=0)
    check_bool("early_stopping", estimator.early_stopping)
    check_real(
        "validation_fraction",
        estimator.validation_fraction,
        low=0,
        high=1,
        low_open=True,
        high_open=True,
    )
    check_int("n_iter_no_change", estimator.n_iter_no_change, minimum=1)
    check_bool("warm_start", estimator.warm_start)
    check_seed(estimator.random_state)
    check_verbose(estimator.verbose)


def _uses_bf16(value: Any, device: torch.device) -> bool:
    check_choice("mixed_precision", value, MIXED_PRECISIONS)
    fast = multiplies_bf16(device)
    if value == "bf16" and device.type == "cuda" and not fast:
        raise ValueError(
            'mixed_precision must be "no" or "auto" where the CUDA device has no '
            "bfloat16. Got 'bf16'."
        )
    return bool(fast if value == "auto" else value == "bf16")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _CUDA_WITH_BF16
    if not hasattr(torch.cpu, "get_capabilities"):  # older torch
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in _CPU_WITH_BF16)


def _resident_bytes(value: Any, device: torch.device) -> int:
    if not isinstance(value, str):
        number = check_real("resident_mb", value, low=0, high=_MAX_RESIDENT_MB)
        return int(number * _BYTES_PER_MB)
    if value != "auto":
        raise ValueError(f'resident_mb must be a number or "auto". Got {value!r}.')
    return _AUTO_RESIDENT_MB[device.type] * _BYTES_PER_MB
