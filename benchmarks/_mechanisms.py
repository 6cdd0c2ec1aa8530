"""The mechanisms of the recipe, and how each of them is switched off.

A parameter of the transformer switches off what has one. What has none is replaced in
the running process: a constant of `sk_rqvae._defaults` by a neutral value, or a
function by one that does less.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sk_rqvae import _defaults
from sk_rqvae._initialization.kmeans import kmeans, random_rows
from sk_rqvae._initialization.latent_width import max_width
from sk_rqvae._initialization.plan import number_of_experts
from sk_rqvae._model.beam_search import PreparedBeamSearch

DEFAULT = "default"

_PLAIN_KMEANS_ITERATIONS = 25
_ADAMW_DECAY = 1e-2
_TINY = 1e-30
_N_BEAMS = 5


@dataclass(frozen=True)
class Mechanism:
    """A part of the recipe, described by what takes its place.

    Attributes
    ----------
    name : str
        Of the mechanism that is off.
    instead : str
        What there is in its place.
    parameters : mapping of str to Any
        Of the transformer.
    constants : mapping of str to Any
        Of `sk_rqvae._defaults`.
    functions : mapping of str to callable
        By "module:function"; modules are named from below `sk_rqvae`.
    """

    name: str
    instead: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


@contextmanager
def switched_off(mechanism: Mechanism) -> Iterator[None]:
    """Replace a mechanism's constants and functions inside the block.

    Raises
    ------
    AttributeError
        If the package no longer has one of them, or none of its modules uses it.
    """
    with ExitStack() as replaced:
        for name, value in mechanism.constants.items():
            for user in (_defaults, *_modules_with(name)):
                replaced.enter_context(patch.object(user, name, value))
        for path, function in mechanism.functions.items():
            module, _, name = path.partition(":")
            owner = import_module(f"sk_rqvae.{module}")
            replaced.enter_context(patch.object(owner, name, function))
        yield


def _modules_with(name: str) -> list[Any]:
    """The package's modules that imported a constant by name."""
    users = [
        module
        for path, module in list(sys.modules.items())
        if path.startswith("sk_rqvae.")
        and module is not _defaults
        and hasattr(module, name)
    ]
    if not users:
        raise AttributeError(f"No module of sk_rqvae uses {name}.")
    return users


# Functions that do less


def _no_factor(*args: Any, **kwargs: Any) -> float:
    return 1.0


def _no_noise_factor(unexplained: Tensor) -> Tensor:
    return torch.ones_like(unexplained)


def _full_width(sample: Tensor, *args: Any) -> int:
    return max_width(sample.shape[1])


def _no_structure(*args: Any) -> float:
    return 0.0


def _best_beams(
    plausible: Tensor, max_pairs: int, generator: torch.Generator
) -> Tensor:
    """Rows in random order, each with its best beam alone."""
    n_rows, n_beams = plausible.shape
    order = torch.randperm(n_rows, device=plausible.device, generator=generator)
    return order[:max_pairs] * n_beams


def _no_limit(codes: Tensor, errors: Tensor) -> float:
    return math.inf


def _full_batches(n_rows: int, most: int) -> int:
    return most


def _most_experts(n_rows: int | None, width: int) -> int:
    return number_of_experts(None, width)


def _all_dead(dead: Tensor, *args: Any) -> Tensor:
    return dead


def _codes_of_beams(
    latents: Tensor, all_vectors: Tensor, sizes: Sequence[int], *args: Any
) -> Tensor:
    """Codes of the best beam, in training; only modes without biases can use them."""
    beams = PreparedBeamSearch(all_vectors, sizes, _N_BEAMS).search(latents)
    return beams.codes[:, 0]


def _plain_kmeans(
    points: Tensor,
    n_clusters: int,
    *,
    generator: torch.Generator,
    on_progress: Any = None,
) -> Tensor:
    """Lloyd's algorithm from random points, in all components at once."""
    centres = random_rows(points, n_clusters, generator)
    return kmeans(
        points, centres, generator=generator, n_iterations=_PLAIN_KMEANS_ITERATIONS
    )


MECHANISMS = [
    # What the data are turned into before training
    Mechanism(
        "linear paths",
        "MLPs alone, weight decay 0.01",
        {"linear_path": False, "weight_decay": _ADAMW_DECAY},
    ),
    Mechanism(
        "narrower latents",
        "all components",
        functions={"_training.initialize:latent_width": _full_width},
    ),
    Mechanism(
        "k-means test for narrower latents",
        "components taken as Gaussian",
        functions={
            "_initialization.latent_width:explained_beyond_gaussian": _no_structure
        },
    ),
    Mechanism(
        "k-means initialisation",
        "random residuals",
        {"codebook_kmeans_init": False},
    ),
    Mechanism(
        "progressive k-means",
        f"Lloyd from random points, {_PLAIN_KMEANS_ITERATIONS} iterations",
        functions={"_initialization.codebooks:progressive_kmeans": _plain_kmeans},
    ),
    Mechanism(
        "several beams in k-means",
        "the best beam of each row",
        functions={"_initialization.codebooks:_random_pairs": _best_beams},
    ),
    Mechanism(
        "plausible beams only in k-means",
        "every beam",
        functions={"_initialization.codebooks:_leave_one_out_errors": _no_limit},
    ),
    # Training
    Mechanism(
        "batches of equal size",
        "full batches and the rest",
        functions={"_training.fit:size_of_batches": _full_batches},
    ),
    Mechanism(
        "training",
        "the initial model",
        {"max_epochs": 1, "lr": _TINY, "restart_dead_codes": False},
    ),
    Mechanism("input noise", "none", {"noise": 0}),
    Mechanism(
        "noise by unexplained share",
        "a factor of 1",
        functions={"_training.initialize:noise_factor": _no_noise_factor},
    ),
    Mechanism(
        "noise of residuals at half unexplained",
        "at all unexplained",
        constants={"EQUAL_NOISE_SHARE": 1.0},
    ),
    Mechanism(
        "noise by rows per code",
        "a factor of 1",
        functions={"_training.initialize:growth_of_unseen_residuals": _no_factor},
    ),
    Mechanism("34 epochs of 10 000 rows", "24", constants={"EPOCHS_OF_ONE_ROW": 2400}),
    Mechanism("learning rate of 0.004", "0.002", {"lr": 2e-3}),
    Mechanism("strong weight decay", "0.01", {"weight_decay": _ADAMW_DECAY}),
    Mechanism("cosine schedule", "a constant rate", {"lr_schedule": "constant"}),
    Mechanism("warm-up", "none", {"warmup_epochs": 0}),
    Mechanism("experts", "the decoder's MLP alone", {"n_experts": 0}),
    Mechanism(
        "rows for each expert",
        "as many experts, however few rows",
        functions={"_training.initialize:number_of_experts": _most_experts},
    ),
    Mechanism("commitment loss", "none", {"commitment_weight": 0}),
    Mechanism("commitment weight of 0.5", "0.25", {"commitment_weight": 0.25}),
    Mechanism(
        "greedy search in training",
        f"{_N_BEAMS} beams",
        functions={"_model.residual_quantizer:greedy_codes": _codes_of_beams},
    ),
    Mechanism("restarts of dead codes", "none", {"restart_dead_codes": False}),
    Mechanism(
        "no restarts with few rows per code",
        "restarts always",
        functions={"_training.net:worth_replacing": _all_dead},
    ),
    # The search
    Mechanism("beams", "greedy, without re-ranking", {"n_beams": 1}),
    Mechanism("re-ranking", "nearest latent", {"rerank": False}),
    Mechanism("two candidates per beam", "one", constants={"CANDIDATES_PER_BEAM": 1}),
    Mechanism("separation of IDs", "none", {"separate_ids": False}),
]
BY_NAME = {
    DEFAULT: Mechanism(DEFAULT, "nothing is off"),
    **{mechanism.name: mechanism for mechanism in MECHANISMS},
}
