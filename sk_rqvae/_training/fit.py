"""Fit a transformer: standardise and plan, initialise, train, separate."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import Tensor

from sk_rqvae._defaults import ADAM_BETAS, SEPARATION_BUDGET
from sk_rqvae._inference.row_subset import Matrix, RowSubset
from sk_rqvae._initialization.behaviour import (
    BehaviourData,
    new_behaviour_map,
    updated_behaviour_map,
)
from sk_rqvae._initialization.codebooks import (
    initialize_codebooks,
    measured_unexplained_share,
    unexplained_share,
)
from sk_rqvae._initialization.latent_width import max_width
from sk_rqvae._initialization.linear_paths import initialize_linear_paths
from sk_rqvae._initialization.noise import initialize_noise
from sk_rqvae._initialization.plan import (
    growth_of_unseen_residuals,
    is_nearly_exact,
    latent_width,
    learning_rate_factor,
    noise_factor,
    number_of_epochs,
)
from sk_rqvae._initialization.standardization import location_and_scale
from sk_rqvae._model.behaviour_map import BehaviourMap, with_behaviour
from sk_rqvae._model.columns import standardized
from sk_rqvae._model.id_prices import PriceList, no_prices
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._model.private_generator import PrivateGenerator
from sk_rqvae._model.shortlist import no_shortlist
from sk_rqvae._progress import FitProgress, ProgressCallback
from sk_rqvae._training.batches import (
    Batches,
    Rows,
    StreamedRows,
    Weights,
    resident_rows,
    run_length,
)
from sk_rqvae._training.callbacks import (
    Annealing,
    LearningRateFactor,
    schedule_learning_rate,
    stop_early,
)
from sk_rqvae._training.collapse_warnings import warn_of_collapse, warn_of_few_rows
from sk_rqvae._training.hold_out import hold_out, without_weightless
from sk_rqvae._training.id_separation import SEPARATION_STEPS, price_shared_ids
from sk_rqvae._training.latent_unit import measured_latent_unit
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.seeds import (
    Generators,
    draw_seed,
    new_generators,
    next_seed,
    numpy_generator,
)
from sk_rqvae._training.settings import Settings, module_arguments
from sk_rqvae._training.shortlist import fitted_shortlist

_BYTES_PER_FLOAT = 4
_ROWS_CHECKED = 256
_ROWS_MEASURED = 2048
_ROWS_PROJECTED = 1024
_ROWS_SHORTLISTED = 1024
_ADJUSTABLE = (
    "codebook_modes",
    "commitment_weight",
    "dropout",
    "n_beams",
    "noise",
    "prefix_weight",
    "rerank",
)


@dataclass(frozen=True)
class Task:
    """The inputs of a training.

    Attributes
    ----------
    X : ndarray or RowSubset of shape (n, n_features)
        Checked rows to learn from.
    held_out : RowSubset or None
        Rows that only early stopping sees.
    settings : Settings
        Checked parameters.
    progress : FitProgress
        Receives the progress of each stage.
    is_partial : bool
        Make one pass at a constant learning rate and the lowest temperature, with the
        optimizer's state of the pass before. Otherwise train for all epochs, on the
        learning rate schedule, with annealing and early stopping, and separate IDs.
    generators : Generators
        Draw every random number of the training.
    weights : ndarray of shape (n,) or None
        Positive weights of the rows of `X`. None is equal weights.
    held_out_weights : ndarray or None
        Those of the rows that are held out.
    affinity : csr_array of shape (n, n) or None
        Which rows of `X` belong together.
    """

    X: Matrix
    held_out: Matrix | None
    settings: Settings
    progress: FitProgress
    is_partial: bool
    generators: Generators
    weights: Weights | None = None
    held_out_weights: Weights | None = None
    affinity: csr_array | None = None

    @property
    def n_features(self) -> int:
        """Columns of the rows."""
        return self.X.shape[1]

    def sample(self, estimator: Any, standardize: Callable[[Tensor], Tensor]) -> Tensor:
        """Up to `init_sample_size` standardised rows, drawn at random."""
        rows = StreamedRows(
            self.X, standardize, self.settings.device, self.generators, self.weights
        )
        return rows.sample(estimator.init_sample_size)

    def behaviour(
        self, affinity: csr_array, mean: Tensor, scale: Tensor
    ) -> BehaviourData:
        """What a behaviour map is fitted to."""
        rng = numpy_generator(self.generators.cpu)
        return BehaviourData(self.X, affinity, self.weights, mean, scale, rng)


def train(
    estimator: Any,
    X: NDArray[Any],
    settings: Settings,
    progress: FitProgress,
    *,
    fitted: RQVAENet | None,
    is_partial: bool,
    weights: Weights | None = None,
    affinity: csr_array | None = None,
) -> RQVAENet:
    """Train a new net, or a copy of a fitted one.

    Parameters
    ----------
    estimator : RQVAETransformer
        Whose parameters, checked, apply. It is not changed.
    X : ndarray of shape (n, n_features)
        Checked rows.
    settings : Settings
    progress : FitProgress
    fitted : RQVAENet or None
        The net to continue training from; it is not changed.
    is_partial : bool
        See `Task`.
    weights : ndarray of shape (n,), default=None
        Checked weights of the rows. Rows of weight zero are left out.
    affinity : csr_array of shape (n, n), default=None
        Checked.

    Returns
    -------
    RQVAENet
    """
    # Later calls must not repeat the order and the noise of earlier ones.
    n_epochs_before = 0 if fitted is None else len(fitted.history)
    seed = draw_seed(estimator.random_state) + n_epochs_before
    generators = new_generators(seed, settings.device)
    rows, weights = without_weightless(X, weights)
    if affinity is not None and isinstance(rows, RowSubset):
        affinity = affinity[rows.index][:, rows.index]
    held_out: RowSubset | None = None
    held_out_weights: Weights | None = None
    if estimator.early_stopping and not is_partial:
        # Before anything is learnt from data, so that the held-out error is honest.
        rows, held_out = _held_out_rows(estimator, rows, settings, generators)
        if weights is not None:
            held_out_weights = weights[held_out.index]
            weights = weights[rows.index]
        if affinity is not None:
            affinity = affinity[rows.index][:, rows.index]
    task = Task(
        rows,
        held_out,
        settings,
        progress,
        is_partial,
        generators,
        weights,
        held_out_weights,
        affinity,
    )
    if fitted is None:
        net, n_distinct, unexplained = _initialized(estimator, task)
    else:
        net, n_distinct, unexplained = _continued(estimator, task, fitted)
    _train(net, estimator, task, fitted, unexplained)
    net.module_.set_price_list(_separated(net, estimator, task))
    net.callbacks, net.train_split, net.generators_ = None, None, None
    net.callbacks_ = []
    _report_collapse(net, n_distinct)
    return net


def _held_out_rows(
    estimator: Any, X: Matrix, settings: Settings, generators: Generators
) -> tuple[RowSubset, RowSubset]:
    """Rows to train on and rows for early stopping."""
    is_streamed = not _fits(X, settings)
    return hold_out(
        X,
        estimator.validation_fraction,
        run_length(len(X)) if is_streamed else 1,
        numpy_generator(generators.cpu),
    )


def _fits(X: Matrix, settings: Settings) -> bool:
    """Whether the rows may be copied to the device."""
    return X.size * _BYTES_PER_FLOAT <= settings.resident_bytes


# Steps one and two: standardise and plan, initialise


def _initialized(estimator: Any, task: Task) -> tuple[RQVAENet, int, float]:
    """A net at its initialisation.

    Returns
    -------
    net : RQVAENet
    n_distinct : int
        Different rows that it was initialised from.
    unexplained : float
        Share of their variance that the codebooks leave unexplained.
    """
    sizes, device = task.settings.codebook_sizes, task.settings.device
    with task.progress.steps("set-up", 1 + len(sizes)) as on_progress:
        location = location_and_scale(task.X, estimator.n_cat_features, task.weights)
        mean, scale = (torch.from_numpy(values).to(device) for values in location)
        behaviour_map = _new_behaviour_map(estimator, task, mean, scale)
        sample = task.sample(
            estimator,
            lambda rows: with_behaviour(standardized(rows, mean, scale), behaviour_map),
        )
        embed_dim = _planned_width(estimator, task, sample)
        seed = next_seed(task.generators.cpu)
        shape = (0, 0) if behaviour_map is None else behaviour_map.shape
        net = new_net(
            estimator,
            task.settings,
            task.n_features,
            embed_dim,
            seed,
            behaviour_shape=shape,
        )
        net.module_.input_mean.copy_(mean)
        net.module_.input_scale.copy_(scale)
        net.module_.behaviour_map = behaviour_map
        n_distinct = _count_distinct(sample, task.generators.device)
        warn_of_few_rows(n_distinct, sizes, sampled=len(sample) < len(task.X))
        latents = initialize_linear_paths(net.module_, sample)
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
    return net, n_distinct, unexplained


def _new_behaviour_map(
    estimator: Any, task: Task, mean: Tensor, scale: Tensor
) -> BehaviourMap | None:
    """A map fitted to the affinity, if there is one that counts."""
    if task.affinity is None or estimator.affinity_weight == 0:
        return None
    data = task.behaviour(task.affinity, mean, scale)
    return new_behaviour_map(data, estimator.affinity_weight)


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
    """Set codebooks and training noise from latents of data.

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
    covariance = initialize_codebooks(
        module.quantizer,
        latents,
        kmeans_init=kmeans_init,
        generator=generator,
        on_progress=on_progress,
    )
    unexplained = unexplained_share(covariance, latents)
    initialize_noise(
        module,
        covariance,
        scale=growth * noise_factor(unexplained),
        unexplained=unexplained,
        isotropic=not kmeans_init,
    )
    return float(unexplained)


def new_net(
    estimator: Any,
    settings: Settings,
    n_features: int,
    embed_dim: int,
    seed: int,
    *,
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
    behaviour_shape: tuple[int, int] = (0, 0),
) -> RQVAENet:
    """An untrained net for rows of `n_features` columns; `seed` gives its weights."""
    arguments = module_arguments(estimator, settings, n_features, embed_dim)
    if behaviour_shape[1]:  # modules of users need not know of it
        arguments["behaviour_shape"] = behaviour_shape
    net = RQVAENet(
        module=estimator.module,
        optimizer=optimizer,
        optimizer__fused=True,
        optimizer__weight_decay=0.0,
        kmeans_init=estimator.codebook_kmeans_init,
        iterator_train=Batches,
        iterator_train__shuffle=True,
        iterator_valid=Batches,
        train_split=None,
        device=str(settings.device),
        **{f"module__{name}": value for name, value in arguments.items()},
    )
    _set_training_parameters(net, estimator)
    with torch.device(settings.device), PrivateGenerator(seed):
        return net.initialize()


# Instead of steps one and two, where training continues


def _continued(
    estimator: Any, task: Task, fitted: RQVAENet
) -> tuple[RQVAENet, int, float]:
    """A copy of a fitted net, and what `_initialized` returns beside its net."""
    net = _copy_of(fitted, estimator, task)
    module = net.module_
    if task.affinity is not None and estimator.affinity_weight:
        _update_behaviour(net, task, task.affinity)
    sample = task.sample(estimator, module.standardize)
    n_distinct = _count_distinct(sample, task.generators.device)
    stride = math.ceil(len(sample) / _ROWS_CHECKED)
    return net, n_distinct, measured_unexplained_share(module, sample[::stride])


def _copy_of(fitted: RQVAENet, estimator: Any, task: Task) -> RQVAENet:
    """A copy to train, so that an interruption leaves the fitted net as it is."""
    net = copy.deepcopy(fitted)
    embed_dim = estimator.embed_dim or net.module__embed_dim
    behaviour_map = net.module_.behaviour_map
    if behaviour_map is not None:
        _check_unchanged(
            "affinity_weight", float(behaviour_map.weight), estimator.affinity_weight
        )
    wanted = module_arguments(estimator, task.settings, task.n_features, embed_dim)
    _check_unchanged("module", net.module, estimator.module)
    _check_unchanged(
        "codebook_kmeans_init", net.kmeans_init, estimator.codebook_kmeans_init
    )
    sizes = net.module__codebook_sizes, wanted["codebook_sizes"]
    _check_unchanged("n_layers", *map(len, sizes))
    _check_unchanged("codebook_size", *sizes)
    for name, value in net.get_params_for("module").items():
        if name not in _ADJUSTABLE and name != "behaviour_shape":
            _check_unchanged(name, value, wanted[name])
    for name in _ADJUSTABLE:
        setattr(net, f"module__{name}", wanted[name])
    module = net.module_.to(task.settings.device)
    module.adjust(**{name: wanted[name] for name in _ADJUSTABLE})
    net.device = str(task.settings.device)
    _set_training_parameters(net, estimator)
    return net


def _update_behaviour(net: RQVAENet, task: Task, affinity: csr_array) -> None:
    """Let the behaviour map of a net know the affinity of these rows too."""
    module = net.module_
    if module.behaviour_map is None:
        raise ValueError(
            "affinity must be given in the first fit if later ones have it: the fitted "
            "model has none. Fit anew with warm_start=False."
        )
    data = task.behaviour(affinity, module.input_mean, module.input_scale)
    module.behaviour_map = updated_behaviour_map(data, module.behaviour_map)
    net.module__behaviour_shape = module.behaviour_map.shape


def _check_unchanged(name: str, fitted: Any, wanted: Any) -> None:
    if wanted != fitted:
        raise ValueError(
            f"{name} is {fitted!r} in the fitted model and cannot be changed while "
            f"training continues. Got {wanted!r}."
        )


# Step three: train


def _train(
    net: RQVAENet,
    estimator: Any,
    task: Task,
    fitted: RQVAENet | None,
    unexplained: float,
) -> None:
    """Train the net in place."""
    n_epochs = 1
    if not task.is_partial:
        n_epochs = estimator.max_epochs or number_of_epochs(
            len(task.X), estimator.batch_size
        )
    full_width = estimator.embed_dim or max_width(net.module_.width)
    net.lr *= learning_rate_factor(unexplained, full_width)
    is_new_fit = fitted is None and not task.is_partial
    if is_new_fit and estimator.max_epochs is None and is_nearly_exact(unexplained):
        # An epoch that changes nothing: the history has a row, the model stays exact.
        n_epochs, net.lr, net.restart_dead_codes = 1, 0.0, False
    training = _dataset(task.X, task.weights, task, net)
    net.train_split = None
    if task.held_out is not None:
        net.train_split = predefined_split(
            _dataset(task.held_out, task.held_out_weights, task, net)
        )
    net.generators_ = task.generators
    net.module_.set_shortlist(no_shortlist(task.settings.device))
    with task.progress.epochs(n_epochs) as epoch_counter:
        net.max_epochs = n_epochs
        net.n_fitted = None if task.is_partial else len(training)
        net.module_.set_mixed_precision(task.settings.mixed_precision)
        net.initialize_optimizer()
        if task.is_partial:
            callbacks = []
            net.module_.quantizer.temperature.zero_()
            if fitted is not None and fitted.optimizer_ is not None:
                _take_over_state(net.optimizer_, fitted.optimizer_)
        else:
            callbacks = _scheduling_callbacks(estimator, n_epochs, len(training))
        net.callbacks = [epoch_counter, *callbacks, *task.settings.callbacks]
        net.initialize_callbacks()
        net.partial_fit(training)
    sample = training.sample(_ROWS_MEASURED)
    net.check_finite(sample[:_ROWS_CHECKED])
    net.module_.latent_unit.copy_(measured_latent_unit(net.module_, sample))
    if not task.is_partial:
        narrow = fitted_shortlist(net.module_, sample[:_ROWS_SHORTLISTED])
        net.module_.set_shortlist(narrow)


def _set_training_parameters(net: RQVAENet, estimator: Any) -> None:
    net.lr = estimator.lr
    net.batch_size = estimator.batch_size
    # Two groups: the optimizer makes a step for each.
    decay = {"weight_decay": estimator.weight_decay}
    net.optimizer__param_groups = [("*coder.mlp.*.weight", decay)]
    net.optimizer__betas = ADAM_BETAS
    net.restart_dead_codes = estimator.restart_dead_codes
    net.verbose = int(estimator.verbose)


def _scheduling_callbacks(estimator: Any, n_epochs: int, n_rows: int) -> list[Callback]:
    """Learning rate, annealing and early stopping of a complete fit."""
    factor = LearningRateFactor(
        estimator.lr_schedule,
        steps_per_epoch=math.ceil(n_rows / estimator.batch_size),
        max_epochs=n_epochs,
        warmup_epochs=estimator.warmup_epochs,
    )
    callbacks = [schedule_learning_rate(factor), Annealing()]
    if estimator.early_stopping:
        callbacks.append(stop_early(estimator.n_iter_no_change))
    return callbacks


def _take_over_state(
    optimizer: torch.optim.Optimizer, earlier: torch.optim.Optimizer
) -> None:
    """Continue with the moments of `earlier`, at the rates that `optimizer` has."""
    state = copy.deepcopy(earlier.state_dict())
    state["param_groups"] = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(state)


def _dataset(rows: Matrix, weights: Weights | None, task: Task, net: RQVAENet) -> Rows:
    """Standardised rows: copied to the device where they fit, otherwise streamed."""
    kind = resident_rows if _fits(task.X, task.settings) else StreamedRows
    device = task.settings.device
    return kind(rows, net.module_.standardize, device, task.generators, weights)


# Step four: separate


def _separated(net: RQVAENet, estimator: Any, task: Task) -> PriceList:
    """Prices for IDs that several rows share.

    A partial fit knows only some of the rows, so it keeps the prices there are.
    """
    if task.is_partial:
        return net.module_.price_list()
    if not estimator.separate_ids:
        return no_prices(net.module_.input_mean.device)
    is_limited = estimator.separate_ids == "auto"
    max_error = 1 + SEPARATION_BUDGET if is_limited else math.inf
    with task.progress.steps("separation", SEPARATION_STEPS) as on_progress:
        return price_shared_ids(
            net.module_,
            task.X,
            on_progress,
            max_error=max_error,
            weights=task.weights,
        )


def _report_collapse(net: RQVAENet, n_distinct: int) -> None:
    """Warn of collapsed levels, as of the epoch whose weights the model has."""
    # A callback can end training within an epoch, whose row then lacks the usage.
    rows = [row for row in net.history if "usage" in row]
    if not rows:
        return
    held_out = [row for row in rows if "valid_loss" in row]
    kept = min(held_out, key=lambda row: row["valid_loss"]) if held_out else rows[-1]
    warn_of_collapse(
        kept["usage"], kept["perplexity"], net.module__codebook_sizes, n_distinct
    )


def _count_distinct(rows: Tensor, generator: torch.Generator) -> int:
    """Number of different rows, counted by one random projection of each."""
    direction = torch.randn(
        rows.shape[1], dtype=torch.float64, device=rows.device, generator=generator
    )
    projections = [
        (block.double() * direction).sum(1) for block in rows.split(_ROWS_PROJECTED)
    ]
    return len(torch.unique(torch.cat(projections)))
