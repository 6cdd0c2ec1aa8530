"""Fit a transformer: standardise and plan, initialise, train, separate."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn

from sk_rqvae._inference.row_subset import ArrayOrTensor, RowSubset
from sk_rqvae._initialization.plan import (
    number_of_epochs,
    size_of_batches,
    usual_weight_decay,
)
from sk_rqvae._model.id_prices import PriceList, no_prices
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._progress import FitProgress
from sk_rqvae._torch_settings import usual_torch_settings
from sk_rqvae._training.batches import (
    Weights,
    run_length,
)
from sk_rqvae._training.callbacks import (
    Annealing,
    LearningRateFactor,
    StopWith,
    schedule_learning_rate,
    stop_early,
)
from sk_rqvae._training.collapse_warnings import remedies, warn_of_collapse
from sk_rqvae._training.continue_fit import continued_net
from sk_rqvae._training.fit_summary import kept_epoch
from sk_rqvae._training.hold_out import hold_out, without_weightless
from sk_rqvae._training.id_separation import SEPARATION_STEPS, price_shared_ids
from sk_rqvae._training.initialize import initialized_net
from sk_rqvae._training.net import RQVAENet
from sk_rqvae._training.new_net import set_weight_decay
from sk_rqvae._training.seeds import draw_seed, new_generators
from sk_rqvae._training.settings import Settings
from sk_rqvae._training.task import Task, count_distinct, fits_on_device

_ROWS_CHECKED = 256
# How much `separate_ids="auto"` may increase the rows' error. A choice, not tuned.
_SEPARATION_BUDGET = 0.01


@usual_torch_settings()
def train(
    estimator: Any,
    X: ArrayOrTensor,
    settings: Settings,
    progress: FitProgress,
    *,
    earlier: RQVAENet | None,
    is_partial: bool,
    weights: Weights | None = None,
    affinity: csr_array | None = None,
) -> RQVAENet:
    """Train a new net, or a copy of a fitted one.

    Parameters
    ----------
    estimator : RQVAETransformer
        Whose parameters, checked, apply. It is not changed.
    X : ndarray or Tensor of shape (n, n_features)
        Checked rows.
    settings : Settings
    progress : FitProgress
    earlier : RQVAENet or None
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
    n_epochs_before = 0 if earlier is None else len(earlier.history)
    seed = draw_seed(estimator.random_state)
    generators = new_generators(seed + n_epochs_before, settings.device)
    rows, weights = without_weightless(X, weights)
    if isinstance(rows, RowSubset):
        affinity = _among(rows, affinity)
    held_out: RowSubset | None = None
    held_out_weights: Weights | None = None
    if estimator.early_stopping and not is_partial:
        # Before anything is learnt from data, so that the held-out error is honest. By
        # `random_state` alone: if it is an int, later fits hold out the same rows.
        # The columns of `affinity` do not count, so that fits without it do the same.
        is_streamed = not fits_on_device(settings, len(rows), rows.shape[1])
        rows, held_out = hold_out(
            rows,
            estimator.validation_fraction,
            run_length(len(rows)) if is_streamed else 1,
            np.random.default_rng(seed),
        )
        if weights is not None:
            held_out_weights = weights[held_out.index]
            weights = weights[rows.index]
        affinity = _among(rows, affinity)
    task = Task(
        X=rows,
        held_out=held_out,
        settings=settings,
        progress=progress,
        is_partial=is_partial,
        generators=generators,
        weights=weights,
        held_out_weights=held_out_weights,
        affinity=affinity,
    )
    if earlier is None:
        net, is_exact = initialized_net(estimator, task)
    else:
        net = continued_net(estimator, task, earlier)
        is_exact = False
    with _frozen_as_before(net.module_):
        _train(net, estimator, task, earlier, is_exact)
    # Before the separation, which needs memory: held-out rows, copies of the weights.
    net.drop_training_state()
    net.module_.set_price_list(_separated(net, estimator, task))
    _report_collapse(net, estimator, task, n_epochs_before)
    return net


def _among(rows: RowSubset, affinity: csr_array | None) -> csr_array | None:
    """The affinity of some rows among themselves."""
    return None if affinity is None else affinity[rows.index][:, rows.index]


# Step three: train


@contextmanager
def _frozen_as_before(module: nn.Module) -> Iterator[None]:
    """Train again later what a callback freezes within the block."""
    before = [weight.requires_grad for weight in module.parameters()]
    yield
    for weight, requires_grad in zip(module.parameters(), before, strict=True):
        weight.requires_grad_(requires_grad)


def _train(
    net: RQVAENet,
    estimator: Any,
    task: Task,
    earlier: RQVAENet | None,
    is_exact: bool,
) -> None:
    """Train the net in place; if it is exact, only so that it has a history."""
    n_epochs = 1
    if not task.is_partial:
        n_epochs = estimator.max_epochs or number_of_epochs(len(task.X))
        # The prices of an earlier fit are for IDs that this one changes.
        net.module_.set_price_list(no_prices(net.module_.input_mean.device))
    if is_exact:
        # Epochs that change nothing: the history has rows, the model stays exact.
        net.lr, net.restart_dead_codes = 0.0, False
        n_epochs = n_epochs if estimator.max_epochs else 1
    training = task.dataset(task.X, task.weights, net.module_)
    if task.held_out is not None:
        net.train_split = predefined_split(
            task.dataset(task.held_out, task.held_out_weights, net.module_)
        )
    net.generators_ = task.generators
    net.replays_steps_ = _replays_steps(net, task.settings)
    net.batch_size = size_of_batches(len(training), estimator.batch_size)
    steps_per_epoch = math.ceil(len(training) / net.batch_size)
    with task.progress.epochs(n_epochs) as epoch_counter:
        net.max_epochs = n_epochs
        net.n_fitted = None if task.is_partial else len(training)
        net.module_.set_mixed_precision(task.settings.mixed_precision)
        set_weight_decay(net, _weight_decay(estimator, len(task.X), steps_per_epoch))
        net.initialize_optimizer()
        if task.is_partial:
            callbacks = []
            net.module_.quantizer.temperature.zero_()
            if earlier is not None and earlier.optimizer_ is not None:
                _take_over_state(net.optimizer_, earlier.optimizer_)
        else:
            callbacks = _scheduling_callbacks(estimator, n_epochs, steps_per_epoch)
        # The last one, so that all others have seen an epoch after which it stops.
        stop = StopWith(epoch_counter)
        net.callbacks = [epoch_counter, *callbacks, *task.settings.callbacks, stop]
        net.initialize_callbacks()
        net.partial_fit(training)
    net.check_finite(training.sample(_ROWS_CHECKED))


def _weight_decay(estimator: Any, n_rows: int, steps_per_epoch: int) -> float:
    """As given, or by the steps of a fit with the usual number of epochs.

    Shorter trainings, above all those that continue an earlier one, would lose what
    was learnt if their few steps decayed weights as much as a complete fit does.
    """
    if estimator.weight_decay is not None:
        return float(estimator.weight_decay)
    return usual_weight_decay(number_of_epochs(n_rows) * steps_per_epoch)


def _replays_steps(net: RQVAENet, settings: Settings) -> bool:
    """Whether all steps run the same kernels: no code of a user runs in them."""
    return (
        settings.device.type == "cuda"
        and type(net.module_) is RQVAEModule
        and not settings.callbacks
        # which reads values in every step
        and not torch.is_anomaly_enabled()
    )


def _scheduling_callbacks(
    estimator: Any, n_epochs: int, steps_per_epoch: int
) -> list[Callback]:
    """Learning rate, annealing and early stopping of a complete fit."""
    factor = LearningRateFactor(
        estimator.lr_schedule,
        steps_per_epoch=steps_per_epoch,
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
    n_ids = math.prod(net.module_.quantizer.sizes)
    if is_limited and len(task.X) > n_ids:
        return no_prices(net.module_.input_mean.device)
    max_error = 1 + _SEPARATION_BUDGET if is_limited else math.inf
    with task.progress.steps("separation", SEPARATION_STEPS) as on_progress:
        return price_shared_ids(
            net.module_,
            task.X,
            on_progress,
            max_error=max_error,
            weights=task.weights,
        )


def _report_collapse(
    net: RQVAENet, estimator: Any, task: Task, n_epochs_before: int
) -> None:
    """Warn of collapsed levels, as of the epoch whose weights the model has."""
    kept = kept_epoch(net, n_epochs_before)
    if kept is None:
        return

    @cache  # levels of one size need one sample
    def n_distinct(n_rows: int) -> int:
        sample = task.sample(n_rows, net.module_.standardize)
        return count_distinct(sample, task.generators.device)

    warn_of_collapse(
        kept["usage"],
        kept["perplexity"],
        net.module__codebook_sizes,
        n_distinct,
        [remedies(estimator, mode) for mode in task.settings.codebook_modes],
    )
