from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
import skorch
import torch
from conftest import small
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)

from sk_rqvae import QuantizeForwardMode, RQVAEModule
from sk_rqvae._compat import HAS_CALLBACKS

MODES = [mode.value for mode in QuantizeForwardMode]


def weights_of(estimator):
    return {
        name: value.clone()
        for name, value in estimator.net_.module_.state_dict().items()
    }


def assert_same_model(one, other):
    theirs = weights_of(other)
    for name, value in weights_of(one).items():
        assert torch.equal(value, theirs[name]), name


# History


@pytest.mark.parametrize("mode", MODES)
def test_the_history_has_a_row_an_epoch_with_every_part_of_the_loss(blobs, mode):
    estimator = small(codebook_mode=mode, codebook_size=(16, 8, 4)).fit(blobs)
    history = estimator.net_.history
    assert isinstance(estimator.net_, skorch.NeuralNet)
    assert len(history) == estimator.n_iter_ == 5
    assert history[:, "epoch"] == [1, 2, 3, 4, 5]
    for row in history:
        parts = [
            value
            for name, value in row.items()
            if name.startswith("train_") and name != "train_loss"
        ]
        assert {"train_reconstruction", "train_codebook", "train_commitment"} <= set(
            row
        )
        assert row["train_loss"] == pytest.approx(sum(parts))
        assert np.isfinite(row["train_loss"])
        assert row["dur"] > 0
        for usage, perplexity, restarts, size in zip(
            row["usage"], row["perplexity"], row["restarts"], (16, 8, 4), strict=True
        ):
            assert 0 < usage <= 1
            assert 1 <= perplexity <= size + 1e-3
            assert 0 <= restarts < size
        assert row["lr"] > 0
    assert "valid_loss" not in history[-1]
    json.dumps([dict(row) for row in history])


def test_usage_and_perplexity_are_those_of_the_codes_of_the_epoch(blobs):
    """One epoch at a rate of nearly zero chooses the codes that transform does."""
    estimator = small(
        max_epochs=1, lr=1e-30, noise=0, rerank=False, separate_ids=False
    ).fit(blobs)
    codes = estimator.transform(blobs)
    row = estimator.net_.history[-1]
    for level, column in enumerate(codes.T):
        share = np.bincount(column, minlength=16) / len(column)
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
        assert row["usage"][level] == pytest.approx((share > 0).mean())
        assert row["perplexity"][level] == pytest.approx(np.exp(entropy), rel=1e-3)


def test_the_reconstruction_part_is_the_share_of_variance_not_explained(blobs):
    estimator = small(
        max_epochs=1, lr=1e-30, noise=0, rerank=False, separate_ids=False
    ).fit(blobs)
    (unexplained,) = estimator.net_.history[:, "train_reconstruction"]
    assert 1 - unexplained == pytest.approx(estimator.score(blobs), abs=1e-4)


def test_the_mean_loss_of_an_epoch_weighs_batches_by_their_rows(blobs):
    losses = {}
    for batch_size in (600, 599):
        estimator = small(
            max_epochs=1, lr=1e-30, noise=0, batch_size=batch_size, prefix_weight=0
        ).fit(blobs)
        losses[batch_size] = estimator.net_.history[-1, "train_loss"]
    assert losses[599] == pytest.approx(losses[600], rel=1e-4)


def test_training_improves_the_loss(blobs):
    history = small(max_epochs=20, noise=0).fit(blobs).net_.history
    assert history[-1, "train_loss"] < history[0, "train_loss"]


# Learning rate


def rates(blobs, **changes):
    estimator = small(**{"lr": 0.01, "batch_size": 600} | changes)
    return estimator.fit(blobs).net_.history[:, "lr"]


def test_a_constant_rate_stays(blobs):
    found = rates(blobs, lr_schedule="constant", warmup_epochs=0, max_epochs=4)
    assert found == [0.01] * 4


def test_a_cosine_falls_from_the_rate_towards_zero(blobs):
    found = rates(blobs, lr_schedule="cosine", warmup_epochs=0, max_epochs=8)
    expected = [0.005 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(8)]
    assert found == pytest.approx(expected)


def test_a_step_multiplies_by_gamma_after_every_so_many_epochs(blobs):
    found = rates(
        blobs,
        lr_schedule="step",
        lr_step_size=2,
        lr_gamma=0.1,
        warmup_epochs=0,
        max_epochs=5,
    )
    assert found == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_rate_rises_while_it_warms_up(blobs, schedule):
    found = rates(
        blobs,
        lr_schedule=schedule,
        warmup_epochs=3,
        max_epochs=12,
        lr_step_size=100,
        batch_size=200,
    )
    rising, later = found[:3], found[3:]
    assert all(one < next_one < 0.01 for one, next_one in itertools.pairwise(rising))
    assert later[0] == pytest.approx(0.01, rel=0.05)


def test_a_warm_up_longer_than_the_training_takes_half_of_it(blobs):
    found = rates(blobs, lr_schedule="constant", warmup_epochs=50, max_epochs=8)
    assert found == pytest.approx([0.002, 0.004, 0.006, 0.008] + [0.01] * 4)


class Rates(Callback):
    """The rate of every step, as the optimizer has it when gradients are there."""

    def on_train_begin(self, net, **kwargs):
        self.seen_ = []

    def on_grad_computed(self, net, **kwargs):
        self.seen_.append(net.optimizer_.param_groups[0]["lr"])


def test_all_parameters_follow_the_schedule_at_every_step(blobs):
    watch = Rates()
    estimator = small(
        lr=0.01,
        max_epochs=3,
        batch_size=150,
        warmup_epochs=0,
        callbacks=[watch],
    )
    history = estimator.fit(blobs).net_.history
    expected = [0.005 * (1 + np.cos(np.pi * step / 12)) for step in range(12)]
    assert watch.seen_ == pytest.approx(expected)
    assert history[:, "lr"] == watch.seen_[3::4]


# Early stopping


def test_early_stopping_watches_rows_that_are_held_out(blobs):
    estimator = small(early_stopping=True, validation_fraction=0.25).fit(blobs)
    assert np.isfinite(estimator.net_.history[:, "valid_loss"]).all()


class Sizes(Callback):
    """How many rows are trained on and held out."""

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        self.sizes_ = len(dataset_train), len(dataset_valid)


@pytest.mark.parametrize("resident_mb", ["auto", 0])
def test_the_validation_fraction_is_held_out_of_training(blobs, resident_mb):
    sizes = Sizes()
    small(
        early_stopping=True,
        validation_fraction=0.25,
        callbacks=[sizes],
        resident_mb=resident_mb,
        max_epochs=1,
    ).fit(blobs)
    assert sum(sizes.sizes_) == 600
    assert sizes.sizes_[1] == pytest.approx(150, abs=10)


class Ruin(Callback):
    """From an epoch on, make the model worse and worse."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training, **kwargs):
        if training and len(net.history) >= self.epoch:
            with torch.no_grad():
                for parameter in net.module_.decoder.parameters():
                    parameter.add_(0.5 * torch.ones_like(parameter))


@pytest.mark.parametrize("max_epochs", [6, 30])
def test_early_stopping_restores_the_weights_that_did_best(blobs, max_epochs):
    options = {"lr_schedule": "constant", "early_stopping": True}
    estimator = small(
        max_epochs=max_epochs, n_iter_no_change=4, callbacks=[Ruin(4)], **options
    ).fit(blobs)
    history = estimator.net_.history
    losses = history[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best < 3
    assert estimator.n_iter_ == min(max_epochs, best + 1 + 4)
    # What is kept reconstructs as the best epoch did, not as the ruined ones.
    unexplained = 1 - estimator.score(blobs)
    assert abs(unexplained - losses[best]) < abs(unexplained - min(losses[3:]))


def test_the_held_out_loss_is_that_of_transform(blobs):
    """With one scale for all columns it is the share of variance left unexplained."""
    estimator = small(
        early_stopping=True,
        max_epochs=1,
        validation_fraction=0.5,
        separate_ids=False,
    ).fit(blobs)
    (loss,) = estimator.net_.history[:, "valid_loss"]
    assert 1 - estimator.score(blobs) == pytest.approx(loss, rel=0.15)


def test_partial_fit_does_not_hold_rows_out(blobs):
    estimator = small(early_stopping=True).partial_fit(blobs)
    assert "valid_loss" not in estimator.net_.history[-1]


# Warm start and partial fit


def test_fit_starts_anew_unless_warm(blobs):
    estimator = small(max_epochs=2).fit(blobs)
    first = estimator.transform(blobs)
    np.testing.assert_array_equal(estimator.fit(blobs).transform(blobs), first)
    assert estimator.n_iter_ == 2


def test_a_warm_start_goes_on_from_the_fitted_model(blobs):
    estimator = small(max_epochs=2, lr_schedule="constant", noise=0).fit(blobs)
    before = estimator.net_.history[-1, "train_loss"]
    center = estimator.net_.module_.input_mean.clone()
    estimator.set_params(warm_start=True, lr=1e-30).fit(blobs + 0.01)
    assert estimator.n_iter_ == 4
    assert estimator.net_.history[2, "train_loss"] == pytest.approx(before, rel=0.2)
    assert torch.equal(estimator.net_.module_.input_mean, center)


def test_a_warm_start_without_a_model_fits_one(blobs):
    cold, warm = small(), small(warm_start=True)
    assert_same_model(cold.fit(blobs), warm.fit(blobs))


def test_a_warm_start_takes_a_new_rate_and_new_weights_of_the_loss(blobs):
    estimator = small(max_epochs=1, warm_start=True).fit(blobs)
    estimator.set_params(
        lr=5e-5,
        warmup_epochs=0,
        commitment_weight=0.0,
        codebook_mode="rotation_trick",
        n_beams=2,
        batch_size=50,
    ).fit(blobs)
    last = estimator.net_.history[-1]
    assert last["lr"] < 5e-5
    assert last["train_commitment"] == 0
    assert estimator.net_.module_.quantizer.n_beams == 2
    assert set(estimator.net_.module_.quantizer.modes) == {"rotation_trick"}


def test_partial_fit_is_one_pass_at_a_constant_rate(blobs):
    estimator = small(lr=0.003, max_epochs=50, batch_size=100)
    estimator.partial_fit(blobs[:300])
    assert estimator.n_iter_ == 1
    estimator.set_params(lr=0.001).partial_fit(blobs[300:])
    assert estimator.net_.history[:, "lr"] == [0.003, 0.001]
    assert estimator.transform(blobs).shape == (600, 3)


def test_partial_fit_after_fit_goes_on_with_more_rows(blobs):
    estimator = small().fit(blobs[:400])
    center = estimator.net_.module_.input_mean.clone()
    estimator.partial_fit(blobs[400:])
    assert estimator.n_iter_ == 6
    assert torch.equal(estimator.net_.module_.input_mean, center)


def test_partial_fit_learns_rows_that_it_had_not_seen(blobs):
    estimator = small(lr=0.01).fit(blobs)
    moved = blobs[:, ::-1] + 0.5
    before = estimator.score(moved)
    for _ in range(8):
        estimator.partial_fit(moved)
    assert estimator.score(moved) > before


def test_partial_fit_keeps_the_optimizers_state(blobs):
    estimator = small(batch_size=100).partial_fit(blobs)

    def steps():
        states = estimator.net_.optimizer_.state_dict()["state"].values()
        return {int(state["step"]) for state in states}

    assert steps() == {6}
    estimator.set_params(lr=1e-5, weight_decay=0.1).partial_fit(blobs)
    assert steps() == {12}
    groups = estimator.net_.optimizer_.param_groups
    assert {group["lr"] for group in groups} == {1e-5}
    assert 0.1 in {group["weight_decay"] for group in groups}


def test_a_scheduled_fit_begins_with_a_fresh_optimizer(blobs):
    estimator = small(batch_size=100, warm_start=True, max_epochs=1).fit(blobs)
    estimator.fit(blobs)
    states = estimator.net_.optimizer_.state_dict()["state"].values()
    assert {int(state["step"]) for state in states} == {6}


def test_passes_of_partial_fit_shuffle_and_draw_anew(blobs):
    class Order(Callback):
        def on_batch_begin(self, net, batch, training, **kwargs):
            self.first_ = batch[0].clone()

    order = Order()
    estimator = small(callbacks=[order])
    seen = []
    for _ in range(3):
        estimator.partial_fit(blobs)
        seen.append(order.first_)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_large_rate_can_be_followed_by_a_small_one(blobs):
    estimator = small(lr=1e-2, warm_start=True).fit(blobs)
    before = estimator.score(blobs)
    estimator.set_params(lr=1e-4, noise=0.0).fit(blobs)
    assert estimator.n_iter_ == 10
    assert estimator.score(blobs) > before - 0.05


# Callbacks


class Counter(Callback):
    """Count the calls of every hook."""

    def __init__(self):
        self.counts = {}

    def _count(self, hook):
        self.counts[hook] = self.counts.get(hook, 0) + 1

    def on_train_begin(self, net, **kwargs):
        self._count("train begin")

    def on_train_end(self, net, **kwargs):
        self._count("train end")

    def on_epoch_begin(self, net, **kwargs):
        self._count("epoch begin")

    def on_epoch_end(self, net, **kwargs):
        self._count("epoch end")
        assert net.history[-1, "train_loss"] > 0

    def on_batch_begin(self, net, batch, training, **kwargs):
        self._count("batch begin")

    def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
        self._count("batch end")
        assert loss.ndim == 0

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert dict(named_parameters)
        self._count("gradients")


def test_every_hook_of_a_skorch_callback_runs(blobs):
    counter = Counter()
    small(max_epochs=3, batch_size=200, callbacks=[counter]).fit(blobs)
    assert counter.counts == {
        "train begin": 1,
        "epoch begin": 3,
        "batch begin": 9,
        "gradients": 9,
        "batch end": 9,
        "epoch end": 3,
        "train end": 1,
    }


def test_callbacks_run_in_partial_fit_too(blobs):
    counter = Counter()
    small(callbacks=[counter]).partial_fit(blobs)
    assert counter.counts["epoch end"] == 1


def explained(net, X, y=None):
    return float(1 - net.history[-1, "train_reconstruction"])


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(monitor="train_loss"),
        ("early_stopping", EarlyStopping(monitor="valid_loss")),
        ("lr_schedule", LRScheduler(policy="ExponentialLR", gamma=0.9)),
        EarlyStopping,
        GradientNormClipping(1.0),
        Freezer("decoder.*"),
        LRScheduler(policy="StepLR", step_size=2),
        EpochScoring(explained, name="explained", use_caching=False),
        ProgressBar(detect_notebook=False),
    ],
    ids=lambda callback: str(callback)[:40],
)
def test_callbacks_of_skorch_work(blobs, callback):
    estimator = small(early_stopping=True, callbacks=[callback]).fit(blobs)
    assert estimator.transform(blobs).shape == (600, 3)
    assert estimator.net_.callbacks_ == []


def test_a_score_of_a_callback_is_in_the_history(blobs):
    scoring = EpochScoring(
        explained, name="explained", use_caching=False, on_train=True
    )
    history = small(callbacks=[scoring]).fit(blobs).net_.history
    assert history[-1, "explained"] == explained(small().fit(blobs).net_, None)


def test_gradient_clipping_reaches_the_gradients(blobs):
    norms = []

    class Watch(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            squares = [p.grad.square().sum() for _, p in named_parameters]
            norms.append(float(torch.stack(squares).sum().sqrt()))

    small(callbacks=[GradientNormClipping(1e-3), Watch()]).fit(blobs)
    assert max(norms) <= 1.001e-3


def test_a_frozen_part_stays_as_it_started(blobs):
    start = small(max_epochs=1, lr=1e-30, weight_decay=0).fit(blobs)
    frozen = small(callbacks=[Freezer("decoder.*")]).fit(blobs)
    mine, theirs = frozen.net_.module_, start.net_.module_
    moved = [
        (getattr(mine, part).linear.weight - getattr(theirs, part).linear.weight)
        .abs()
        .max()
        .item()
        for part in ("decoder", "encoder")
    ]
    assert moved[0] < 1e-6
    assert moved[1] > 1e-3


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_a_checkpoint_writes_weights_that_can_be_read(blobs, tmp_path, kind):
    options = {"monitor": None} if kind is Checkpoint else {}
    checkpoint = kind(dirname=str(tmp_path), **options)
    estimator = small(callbacks=[checkpoint]).fit(blobs)
    (file,) = tmp_path.glob("*params.pt")
    weights = torch.load(file, weights_only=True)
    for name, value in weights.items():
        if not name.startswith("price"):
            assert torch.equal(value, estimator.net_.module_.state_dict()[name]), name


def test_the_callbacks_of_one_fit_are_not_kept_for_the_next(blobs):
    counter = Counter()
    estimator = small(callbacks=[counter], max_epochs=1).fit(blobs)
    estimator.set_params(callbacks=None).partial_fit(blobs)
    assert counter.counts["train end"] == 1


needs_sklearn_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has no callbacks before 1.9"
)


class Tasks:
    """A callback of scikit-learn that keeps what it is told."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.log = []
        self.scores = []

    def setup(self, estimator, context):
        self.log.append("setup")

    def teardown(self, estimator, context):
        self.log.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.log.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.log.append(f"end {context.task_name}")
        if fitted_estimator is not None and context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
        return len(self.scores) == self.stop_after


@needs_sklearn_callbacks
def test_scikit_learns_callbacks_hear_of_every_epoch(blobs):
    tasks = Tasks()
    small(max_epochs=2).set_callbacks(tasks).fit(blobs)
    epoch = ["begin epoch", "end epoch"]
    assert tasks.log == ["setup", "begin fit", *epoch, *epoch, "end fit", "teardown"]


@needs_sklearn_callbacks
def test_scikit_learns_callbacks_get_the_estimator_as_it_is_so_far(blobs):
    tasks = Tasks()
    estimator = small(max_epochs=2, lr=1e-30, separate_ids=False)
    estimator.set_callbacks(tasks).fit(blobs)
    assert tasks.scores == pytest.approx([estimator.score(blobs)] * 2, abs=1e-3)


@needs_sklearn_callbacks
def test_looking_at_the_estimator_during_fit_does_not_change_the_fit(blobs):
    watched = small().set_callbacks(Tasks()).fit(blobs)
    assert_same_model(watched, small().fit(blobs))


@needs_sklearn_callbacks
def test_a_callback_of_scikit_learn_can_stop_training(blobs):
    estimator = small(max_epochs=20).set_callbacks(Tasks(stop_after=3)).fit(blobs)
    assert estimator.n_iter_ == 3


@needs_sklearn_callbacks
def test_scikit_learns_callbacks_are_torn_down_after_a_failure(blobs):
    class Fails(Callback):
        def on_epoch_begin(self, net, **kwargs):
            raise RuntimeError("no")

    tasks = Tasks()
    estimator = small(callbacks=[Fails()]).set_callbacks(tasks)
    before = set(vars(estimator))
    with pytest.raises(RuntimeError, match="no"):
        estimator.fit(blobs)
    assert tasks.log[-1] == "teardown"
    assert set(vars(estimator)) == before


@needs_sklearn_callbacks
def test_the_progress_bar_of_scikit_learn_counts_the_epochs(blobs, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar as SklearnProgressBar

    small(max_epochs=2).set_callbacks(SklearnProgressBar()).fit(blobs)
    out = capsys.readouterr().out
    assert "RQVAETransformer" in out
    assert "100%" in out


# Output


def test_verbose_prints_a_table_with_a_row_an_epoch(blobs, capsys):
    small(max_epochs=3, verbose=1, early_stopping=True).fit(blobs)
    header, rule, *rows = capsys.readouterr().out.strip().splitlines()
    for name in (
        "epoch",
        "train_loss",
        "train_reconstruction",
        "train_codebook",
        "train_commitment",
        "valid_loss",
        "usage",
        "perplexity",
        "lr",
        "dur",
    ):
        assert name in header
    assert set(rule) <= {"-", " "}
    assert len([row for row in rows if row.split()[0].isdigit()]) == 3


def test_the_table_shows_small_rates_and_a_value_a_level(blobs, capsys):
    options = {"max_epochs": 1, "verbose": True, "batch_size": 600}
    small(lr=2e-6, warmup_epochs=0, **options).fit(blobs)
    assert "2e-06" in capsys.readouterr().out
    small(codebook_size=(4, 2, 1), **options).fit(blobs)
    assert "1 1 1" in capsys.readouterr().out


def test_nothing_is_printed_otherwise(blobs, capsys):
    small(early_stopping=True).fit(blobs).partial_fit(blobs)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


# A user's own module


class Smooth(RQVAEModule):
    """Adds a penalty on the latents, under a name of its own."""

    def compute_loss(self, output):
        parts = super().compute_loss(output)
        return parts | {"penalty": 0.5 * output.latents.square().mean()}


class OnlyReconstruction(RQVAEModule):
    """A loss with one part, under another name."""

    def compute_loss(self, output):
        loss = self.reconstruction_loss(output.inputs, output.reconstruction)
        return {"mine": loss}


def test_a_users_own_loss_is_minimised_and_logged(blobs):
    estimator = small(module=Smooth).fit(blobs)
    assert type(estimator.net_.module_) is Smooth
    last = estimator.net_.history[-1]
    assert last["train_penalty"] > 0
    parts = [v for k, v in last.items() if k.startswith("train_") and k != "train_loss"]
    assert last["train_loss"] == pytest.approx(sum(parts))
    plain = small().fit(blobs)
    with torch.no_grad():
        sizes = [
            each.net_.module_.encode(torch.from_numpy(blobs)).square().mean()
            for each in (estimator, plain)
        ]
    assert sizes[0] < sizes[1]


def test_a_users_own_loss_need_not_have_the_default_parts(blobs):
    history = small(module=OnlyReconstruction).fit(blobs).net_.history
    assert history[-1, "train_loss"] == pytest.approx(history[-1, "train_mine"])
    assert "train_codebook" not in history[-1]


def test_a_users_own_module_stops_early(blobs):
    estimator = small(module=Smooth, early_stopping=True, max_epochs=3).fit(blobs)
    assert np.isfinite(estimator.net_.history[:, "valid_loss"]).all()


# Seeds


@pytest.mark.parametrize("mode", MODES)
def test_one_seed_gives_one_model_bit_for_bit(blobs, mode):
    options = {"codebook_mode": mode, "early_stopping": True, "batch_size": 128}
    first, second = (small(**options).fit(blobs) for _ in range(2))
    assert_same_model(first, second)
    np.testing.assert_array_equal(first.transform(blobs), second.transform(blobs))
    losses = [each.net_.history[:, "train_loss"] for each in (first, second)]
    assert losses[0] == losses[1]


def test_other_seeds_give_other_models(blobs):
    codes = [small(random_state=seed).fit_transform(blobs) for seed in (0, 1, None)]
    assert not np.array_equal(codes[0], codes[1])
    assert not np.array_equal(codes[0], codes[2])


def test_no_seed_gives_another_model_each_time_whatever_the_global_seed(blobs):
    codes = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        codes.append(small(random_state=None).fit_transform(blobs))
    assert not np.array_equal(*codes)


def test_a_random_state_instance_moves_on_from_fit_to_fit(blobs):
    state = np.random.RandomState(0)
    codes = [small(random_state=state).fit_transform(blobs) for _ in range(2)]
    assert not np.array_equal(*codes)
    again = np.random.RandomState(0)
    np.testing.assert_array_equal(
        small(random_state=again).fit_transform(blobs), codes[0]
    )


SEEDED_FIT = """
import sys
import numpy as np
from conftest import small
rows = np.load(sys.argv[1])
codes = small(codebook_mode=sys.argv[2].split()).fit_transform(rows)
np.save(sys.argv[3], codes)
"""


def test_one_seed_gives_the_same_ids_in_a_fresh_process(blobs, fresh_python, tmp_path):
    np.save(tmp_path / "rows.npy", blobs)
    modes = ["gumbel_softmax", "sinkhorn", "rotation_trick"]
    fresh_python(
        SEEDED_FIT, tmp_path / "rows.npy", " ".join(modes), tmp_path / "codes.npy"
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "codes.npy"),
        small(codebook_mode=modes).fit_transform(blobs),
    )


@pytest.mark.parametrize("random_state", [0, None])
def test_the_global_generators_and_the_threads_stay_as_they_were(blobs, random_state):
    def state():
        legacy = np.random.get_state()  # noqa: NPY002
        return (
            random.getstate(),
            [np.asarray(each).tolist() for each in legacy[1:]],
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_num_interop_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
        )

    before = state()
    estimator = small(random_state=random_state, codebook_mode="gumbel_softmax")
    estimator.fit(blobs).partial_fit(blobs)
    estimator.inverse_transform(estimator.transform(blobs))
    assert state() == before


def test_a_fit_does_not_depend_on_the_global_generators(blobs):
    codes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        codes.append(small().fit_transform(blobs))
    np.testing.assert_array_equal(*codes)


# Rows that are streamed


@pytest.mark.parametrize("mode", ["ste", "sinkhorn"])
def test_streamed_rows_train_as_well_as_resident_ones(blobs, tmp_path, mode):
    np.save(tmp_path / "rows.npy", blobs)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert not rows.flags.writeable
    resident = small(codebook_mode=mode).fit(blobs)
    streamed = small(codebook_mode=mode, resident_mb=0).fit(rows)
    assert streamed.score(rows) == pytest.approx(resident.score(blobs), abs=0.05)
    assert len(streamed.net_.history) == 5


def test_streamed_rows_start_from_the_same_codebooks_as_resident_ones(blobs):
    models = [
        small(max_epochs=1, lr=1e-30, weight_decay=0, resident_mb=size).fit(blobs)
        for size in ("auto", 0)
    ]
    for one, other in zip(*[model.codebooks_ for model in models], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_streamed_training_is_as_repeatable(blobs):
    assert_same_model(*(small(resident_mb=0).fit(blobs) for _ in range(2)))


def test_streamed_rows_can_be_held_out_and_gone_on_with(blobs):
    estimator = small(resident_mb=0, early_stopping=True).fit(blobs)
    assert np.isfinite(estimator.net_.history[:, "valid_loss"]).all()
    estimator.partial_fit(blobs)
    assert estimator.n_iter_ == 6


# Settings that act


def test_noise_is_drawn_in_training_only(blobs):
    quiet, noisy = small(noise=0.0), small(noise=2.0)
    losses = [
        each.fit(blobs).net_.history[-1, "train_reconstruction"]
        for each in (quiet, noisy)
    ]
    assert losses[0] < losses[1]
    np.testing.assert_array_equal(noisy.transform(blobs), noisy.transform(blobs))


def test_weight_decay_is_for_the_perceptrons_alone(blobs):
    groups = small(weight_decay=0.3).fit(blobs).net_.optimizer_.param_groups
    module = small(weight_decay=0.3).fit(blobs).net_.module_
    decayed = sum(
        parameter.numel()
        for group in groups
        if group["weight_decay"] == 0.3
        for parameter in group["params"]
    )
    perceptrons = [*module.encoder.mlp, *module.decoder.mlp]
    assert decayed == sum(
        layer.weight.numel() for layer in perceptrons if hasattr(layer, "weight")
    )


def test_random_codebooks_differ_from_those_of_kmeans(blobs):
    random_start = small(codebook_kmeans_init=False, max_epochs=1).fit(blobs)
    kmeans_start = small(max_epochs=1).fit(blobs)
    losses = [
        each.net_.history[0, "train_codebook"] for each in (random_start, kmeans_start)
    ]
    assert losses[0] > losses[1]
