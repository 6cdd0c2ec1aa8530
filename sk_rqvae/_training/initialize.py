"""Steps one and two of a fit: standardise and plan, initialise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sk_rqvae._initialization.behaviour import new_behaviour_map
from sk_rqvae._initialization.codebooks import initialize_codebooks, unexplained_share
from sk_rqvae._initialization.experts import initialize_experts
from sk_rqvae._initialization.latent_width import latent_width, max_width
from sk_rqvae._initialization.linear_paths import initialize_linear_paths
from sk_rqvae._initialization.noise import initialize_noise
from sk_rqvae._initialization.plan import (
    growth_of_unseen_residuals,
    is_nearly_exact,
    noise_factor,
    number_of_experts,
)
from sk_rqvae._initialization.standardization import location_and_scale
from sk_rqvae._model.behaviour_map import BehaviourMap, with_behaviour
from sk_rqvae._model.columns import standardized
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import ProgressCallback
from sk_rqvae._training.collapse_warnings import warn_of_few_rows
from sk_rqvae._training.dominant_column import warn_of_dominant_column
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.new_net import new_net
from sk_rqvae._training.seeds import next_seed
from sk_rqvae._training.task import Task, count_distinct

# Rows that decide whether the initial model is exact.
_ROWS_PROBED = 1024


def initialized_net(estimator: Any, task: Task) -> tuple[RQVAENet, bool]:
    """A net at its initialisation.

    Returns
    -------
    net : RQVAENet
    is_exact : bool
        Whether it reconstructs rows so well that training could only do harm.
    """
    sizes, device = task.settings.codebook_sizes, task.settings.device
    with task.progress.steps("set-up", 1 + len(sizes)) as on_progress:
        location = location_and_scale(task.X, estimator.n_cat_features, task.weights)
        mean, scale = (torch.from_numpy(values).to(device) for values in location)
        behaviour_map = _new_behaviour_map(estimator, task, mean, scale)
        sample = task.sample(
            estimator.init_sample_size,
            lambda rows: with_behaviour(standardized(rows, mean, scale), behaviour_map),
        )
        warn_of_dominant_column(sample[:, -task.n_features :])  # behaviour is in front
        net = _planned_net(estimator, task, sample, behaviour_map)
        net.module_.input_mean.copy_(mean)
        net.module_.input_scale.copy_(scale)
        n_distinct = count_distinct(sample, task.generators.device)
        # Weighted draws that are limited can miss rows, however many there are.
        is_limited = len(sample) < len(task.X) or (
            task.weights is not None and len(sample) == estimator.init_sample_size
        )
        warn_of_few_rows(n_distinct, sizes, sampled=is_limited)
        latents = initialize_linear_paths(net.module_, sample)
        # The sample may be in the order of a sorted file.
        probe = sample[:: math.ceil(len(sample) / _ROWS_PROBED)].clone()
        del sample  # frees memory for the codebooks
        on_progress()
        unexplained = initialize_quantizer(
            net.module_,
            latents,
            kmeans_init=estimator.codebook_kmeans_init,
            growth=growth_of_unseen_residuals(sizes, len(task.X)),
            generator=task.generators.device,
            on_progress=on_progress,
        )
    # Exact latents are not enough: an autoencoder without a linear path does not yet
    # map them back to rows.
    is_exact = is_nearly_exact(unexplained) and is_nearly_exact(
        _reconstruction_error(net.module_, probe)
    )
    return net, is_exact


@torch.no_grad()
def _reconstruction_error(module: RQVAEModule, rows: Tensor) -> float:
    """Error of standardised rows, encoded as by `transform`; a share of variance."""
    module.eval()
    decoded = module.reconstruct(module.assign(rows))
    return float(module.reconstruction_loss(rows, decoded))


def _new_behaviour_map(
    estimator: Any, task: Task, mean: Tensor, scale: Tensor
) -> BehaviourMap | None:
    """A map fitted to the affinity, if there is one that counts."""
    if task.affinity is None or estimator.affinity_weight == 0:
        return None
    data = task.behaviour(task.affinity, mean, scale)
    return new_behaviour_map(data, estimator.affinity_weight)


def _planned_net(
    estimator: Any, task: Task, sample: Tensor, behaviour_map: BehaviourMap | None
) -> RQVAENet:
    """A net with random weights, whose sizes are given or follow from the data."""
    embed_dim = _planned_width(estimator, task, sample)
    seed = next_seed(task.generators.cpu)
    net = new_net(
        estimator,
        task.settings,
        task.n_features,
        embed_dim,
        seed,
        behaviour_shape=(0, 0) if behaviour_map is None else behaviour_map.shape,
        n_experts=_planned_experts(task),
    )
    net.module_.behaviour_map = behaviour_map
    return net


def _planned_experts(task: Task) -> int:
    """Number of experts: as given, or as many as there are rows for."""
    if task.settings.n_experts is not None:
        return task.settings.n_experts
    n_rows = None if task.is_partial else len(task.X)
    return number_of_experts(n_rows, task.settings.hidden_dims[-1])


def _planned_width(estimator: Any, task: Task, sample: Tensor) -> int:
    """Width of the latents: as given, or as the data decide."""
    if estimator.embed_dim is not None:
        return int(estimator.embed_dim)
    if not estimator.linear_path or estimator.codebook_normalize:
        return max_width(sample.shape[1])  # latents are no principal components
    sizes = task.settings.codebook_sizes
    return latent_width(sample, sizes, len(task.X), task.generators.device)


def initialize_quantizer(
    module: RQVAEModule,
    latents: Tensor,
    *,
    kmeans_init: bool,
    growth: float,
    generator: torch.Generator,
    on_progress: ProgressCallback,
) -> float:
    """Set codebooks, centres of experts and training noise from latents of data.

    Parameters
    ----------
    module : RQVAEModule
        Changed in place.
    latents : Tensor of shape (n, embed_dim)
    kmeans_init : bool
        Codebooks by residual k-means; otherwise random residuals.
    growth : float
        Expected norm of the residuals of unseen rows over that of fitted rows.
    generator : torch.Generator
    on_progress : ProgressCallback
        Called while the levels are clustered; each level adds up to 1.

    Returns
    -------
    float
        Share of the latents' variance that the codebooks leave unexplained.
    """
    residual_power = initialize_codebooks(
        module.quantizer,
        latents,
        kmeans_init=kmeans_init,
        generator=generator,
        on_progress=on_progress,
    )
    initialize_experts(module.decoder.experts, latents, generator)
    unexplained = unexplained_share(residual_power, latents)
    initialize_noise(
        module,
        scale=growth * noise_factor(unexplained),
        residual_power=residual_power,
        unexplained=unexplained,
    )
    return float(unexplained)
