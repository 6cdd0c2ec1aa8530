"""From checked rows to a trained net."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import Tensor

from sk_rqvae._auction import PriceList, no_prices
from sk_rqvae._batches import Batches, Rows, StreamedRows, resident_rows
from sk_rqvae._callbacks import (
    Annealing,
    LearningRateFactor,
    schedule_learning_rate,
    stop_early,
)
from sk_rqvae._clustered import told_beyond_gaussian
from sk_rqvae._collapse import warn_of_collapse, warn_of_few_rows
from sk_rqvae._module import standardized
from sk_rqvae._moments import location_and_scale
from sk_rqvae._net import RQVAENet
from sk_rqvae._principal import principal_components
from sk_rqvae._progress import Advance, FitProgress
from sk_rqvae._seeds import draw_seed, seeded
from sk_rqvae._separation import SEPARATION_STEPS, price_shared_ids
from sk_rqvae._settings import Settings, module_arguments
from sk_rqvae._start import (
    expected_growth,
    share_of_lr,
    share_unexplained,
    start_paths,
    start_quantizer,
)
from sk_rqvae._width import suitable_width, widest

_BYTES_A_FLOAT = 4
_ROWS_CHECKED = 256
_NOTHING_LEFT = 1e-4
_ROWS_PROJECTED = 1024
_MOST_ROWS_LEFT_OUT = 2**14
_MOST_TOLD = 0.01
_AFFORDABLE = 1.01
_BETAS = (0.9, 0.99)
_ADJUSTABLE = (
    "codebook_modes",
    "commitment_weight",
    "n_beams",
    "prefix_weight",
    "rerank",
)


@dataclass(frozen=True)
class Course:
    """How long to train and how.

    Attributes
    ----------
    max_epochs : int
    scheduled : bool
        Follow the learning rate schedule, anneal and stop early. Otherwise train at a
        constant rate and the lowest temperature, going on with the optimizer's state.
    progress : FitProgress
        Who is told how far it is.
    """

    max_epochs: int
    scheduled: bool
    progress: FitProgress


def train(
    estimator: Any,
    X: NDArray[Any],
    settings: Settings,
    course: Course,
    fitted: RQVAENet | None,
) -> RQVAENet:
    """Train a new net, or a copy of a fitted one, on the rows of `X`.

    Parameters
    ----------
    estimator : RQVAETransformer
        Whose parameters, checked, apply. It is not changed.
    X : ndarray of shape (n, n_features)
    settings : Settings
    course : Course
    fitted : RQVAENet or None
        What to go on from.

    Returns
    -------
    RQVAENet
    """
    # Later calls must not repeat the order and the noise of earlier ones.
    n_epochs_before = 0 if fitted is None else len(fitted.history)
    seed = draw_seed(estimator.random_state) + n_epochs_before
    with seeded(seed, settings.device):
        if fitted is None:
            n_parts = 1 + len(settings.codebook_sizes)
            with course.progress.steps("set-up", n_parts) as advance:
                net, n_distinct, left = _started(estimator, X, settings, advance)
        else:
            net = _copy_of(fitted, estimator, settings, X.shape[1])
            sample = _sample(estimator, X, net.module_.standardize, settings.device)
            n_distinct = _count_distinct(sample)
            apart = math.ceil(len(sample) / _ROWS_CHECKED)
            left = share_unexplained(net.module_, sample[::apart])
            del sample  # frees memory for training
        net.lr *= share_of_lr(left, estimator.embed_dim or widest(X.shape[1]))
        untrained = fitted is None and course.scheduled
        if untrained and estimator.max_epochs is None and left < _NOTHING_LEFT:
            course = _keep_start(net, course)
        training, held_out = _datasets(estimator, X, net, settings, course)
        net.train_split = None if held_out is None else predefined_split(held_out)
        with course.progress.epochs(course.max_epochs) as counter:
            _prepare(net, estimator, settings, course, len(training), fitted, counter)
            net.partial_fit(training)
        net.check_finite(training.sample(_ROWS_CHECKED))
        net.module_.set_price_list(_price_list(net, estimator, X, course))
    net.callbacks, net.train_split = None, None
    net.callbacks_ = []
    _report_collapse(net, n_distinct)
    return net


def new_net(
    estimator: Any,
    settings: Settings,
    n_features: int,
    embed_dim: int,
    *,
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
) -> RQVAENet:
    """An untrained net with an initialised module, for rows of `n_features` columns."""
    arguments = module_arguments(estimator, settings, n_features, embed_dim)
    net = RQVAENet(
        module=estimator.module,
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
    _set_training_parameters(net, estimator)
    with torch.device(settings.device):
        return net.initialize()


def _copy_of(
    fitted: RQVAENet, estimator: Any, settings: Settings, n_features: int
) -> RQVAENet:
    """A copy to go on with, so that an interruption leaves the fitted net alone."""
    net = copy.deepcopy(fitted)
    embed_dim = estimator.embed_dim or net.module__embed_dim
    wanted = module_arguments(estimator, settings, n_features, embed_dim)
    _check_unchanged("module", net.module, estimator.module)
    sizes = net.module__codebook_sizes, wanted["codebook_sizes"]
    _check_unchanged("n_layers", *map(len, sizes))
    _check_unchanged("codebook_size", *sizes)
    for name, value in net.get_params_for("module").items():
        if name not in _ADJUSTABLE:
            _check_unchanged(name, value, wanted[name])
    for name in _ADJUSTABLE:
        setattr(net, f"module__{name}", wanted[name])
    module = net.module_.to(settings.device)
    module.adjust(**{name: wanted[name] for name in _ADJUSTABLE})
    net.device = str(settings.device)
    _set_training_parameters(net, estimator)
    return net


def _check_unchanged(name: str, fitted: Any, wanted: Any) -> None:
    if wanted != fitted:
        raise ValueError(
            f"{name} is {fitted!r} in the fitted model and cannot be changed while "
            f"training goes on. Got {wanted!r}."
        )


def _set_training_parameters(net: RQVAENet, estimator: Any) -> None:
    net.lr = estimator.lr
    net.batch_size = estimator.batch_size
    # Two groups: the optimizer makes a step for each.
    decay = {"weight_decay": estimator.weight_decay}
    net.optimizer__param_groups = [("*coder.mlp.*.weight", decay)]
    # A fit is a thousand steps. With AdamW's usual 0.999 the large gradients of its
    # first epochs would shorten nearly all of them.
    net.optimizer__betas = _BETAS
    net.restart_dead_codes = estimator.restart_dead_codes
    net.verbose = int(estimator.verbose)


def _started(
    estimator: Any, X: NDArray[Any], settings: Settings, advance: Advance
) -> tuple[RQVAENet, int, float]:
    """A net with its location, scale, width and start from the data or a sample.

    Returns
    -------
    net : RQVAENet
    n_distinct : int
        Different rows that it starts from.
    unexplained : float
        Share of their variance that the start leaves.
    """
    device, sizes = settings.device, settings.codebook_sizes
    location = location_and_scale(X, estimator.n_cat_features)
    mean, scale = (torch.from_numpy(values).to(device) for values in location)
    standardize = partial(standardized, mean=mean, scale=scale)
    sample = _sample(estimator, X, standardize, device)
    embed_dim = estimator.embed_dim or _width(estimator, sample, sizes, len(X))
    net = new_net(estimator, settings, X.shape[1], embed_dim)
    module = net.module_
    module.input_mean.copy_(mean)
    module.input_scale.copy_(scale)
    n_distinct = _count_distinct(sample)
    warn_of_few_rows(n_distinct, sizes, sampled=len(sample) < len(X))
    latents = start_paths(module, sample)
    del sample  # frees memory for the codebooks
    advance()
    unexplained = start_quantizer(
        module,
        latents,
        kmeans_init=estimator.codebook_kmeans_init,
        noise=estimator.noise * expected_growth(sizes, len(X)),
        advance=advance,
    )
    return net, n_distinct, unexplained


def _width(estimator: Any, sample: Tensor, sizes: Sequence[int], n_rows: int) -> int:
    """Width of the latents where it is not given.

    Principal components are left out only where latents start as these, and where they
    are about Gaussian, as `suitable_width` takes them to be. Of sparse or clustered
    ones codes can tell much, however little they vary.
    """
    whole = widest(sample.shape[1])
    if not estimator.linear_path or estimator.codebook_normalize:
        return whole
    variances, axes = principal_components(sample)
    width = suitable_width(variances.cpu().numpy(), sizes, n_rows)
    if width == whole:
        return whole
    order = torch.randperm(len(sample), device=sample.device)[:_MOST_ROWS_LEFT_OUT]
    left_out = sample[order] @ axes[width:].T
    share = variances[width:].sum() / variances.sum()
    told = told_beyond_gaussian(left_out, sizes[0]) * float(share)
    return whole if told > _MOST_TOLD else width


def _keep_start(net: RQVAENet, course: Course) -> Course:
    """An epoch that changes nothing: training could only lose what the start has."""
    net.lr, net.restart_dead_codes = 0.0, False
    return replace(course, max_epochs=1)


def _sample(
    estimator: Any,
    X: NDArray[Any],
    standardize: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Tensor:
    """Standardised rows, all or some drawn at random."""
    rows = StreamedRows(X, standardize, device)
    return rows.sample(estimator.init_sample_size)


def _datasets(
    estimator: Any, X: NDArray[Any], net: RQVAENet, settings: Settings, course: Course
) -> tuple[Rows, Rows | None]:
    """Rows to train on and, for early stopping, rows held out."""
    fits = X.size * _BYTES_A_FLOAT <= settings.resident_bytes
    kind = resident_rows if fits else StreamedRows
    where = (X, net.module_.standardize, settings.device)
    if not (estimator.early_stopping and course.scheduled):
        return kind(*where), None
    n_units = len(X) if fits else len(StreamedRows(*where).runs)
    training, held_out = _hold_out(n_units, estimator.validation_fraction)
    return kind(*where, training), kind(*where, held_out)


def _hold_out(
    n_units: int, fraction: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide rows, or runs of them, at random; both parts stay in order."""
    n_held_out = math.ceil(fraction * n_units)
    if n_held_out >= n_units:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} leaves no rows "
            f"to train on. Got {n_units} rows."
        )
    order = torch.randperm(n_units).numpy()
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def _prepare(
    net: RQVAENet,
    estimator: Any,
    settings: Settings,
    course: Course,
    n_rows: int,
    fitted: RQVAENet | None,
    counter: Callback,
) -> None:
    """Optimizer, callbacks and length of this training."""
    net.max_epochs = course.max_epochs
    net.n_fitted = n_rows if course.scheduled else None
    net.module_.set_mixed_precision(settings.mixed_precision)
    net.initialize_optimizer()
    callbacks = [counter]
    if course.scheduled:
        factor = LearningRateFactor(
            estimator.lr_schedule,
            steps_per_epoch=math.ceil(n_rows / estimator.batch_size),
            max_epochs=course.max_epochs,
            warmup_epochs=estimator.warmup_epochs,
            step_size=estimator.lr_step_size,
            gamma=estimator.lr_gamma,
        )
        callbacks += [schedule_learning_rate(factor), Annealing()]
        if estimator.early_stopping:
            callbacks.append(stop_early(estimator.n_iter_no_change))
    else:
        net.module_.quantizer.temperature.zero_()
        if fitted is not None and fitted.optimizer_ is not None:
            _take_over_state(net.optimizer_, fitted.optimizer_)
    net.callbacks = callbacks + settings.callbacks
    net.initialize_callbacks()


def _price_list(
    net: RQVAENet, estimator: Any, X: NDArray[Any], course: Course
) -> PriceList:
    """Prices for the IDs of the rows of a whole fit; a pass knows only some of them."""
    if estimator.separate_ids and course.scheduled:
        most = _AFFORDABLE if estimator.separate_ids == "auto" else math.inf
        with course.progress.steps("separation", SEPARATION_STEPS) as advance:
            return price_shared_ids(net.module_, X, advance, most_error=most)
    return no_prices(net.module_.input_mean.device)


def _take_over_state(
    optimizer: torch.optim.Optimizer, earlier: torch.optim.Optimizer
) -> None:
    """Go on with the moments of `earlier`, at the rates that `optimizer` has."""
    state = copy.deepcopy(earlier.state_dict())
    state["param_groups"] = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(state)


def _report_collapse(net: RQVAENet, n_distinct: int) -> None:
    last = net.history[-1]
    warn_of_collapse(
        last["usage"], last["perplexity"], net.module__codebook_sizes, n_distinct
    )


def _count_distinct(rows: Tensor) -> int:
    """Number of different rows, told apart by one random projection."""
    direction = torch.randn(rows.shape[1], dtype=torch.float64, device=rows.device)
    projections = [
        (block.double() * direction).sum(1) for block in rows.split(_ROWS_PROJECTED)
    ]
    return len(torch.unique(torch.cat(projections)))
