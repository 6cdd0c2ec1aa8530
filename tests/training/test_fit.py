from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
import skorch
import torch
from conftest import assert_same_model, small
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint

from sk_rqvae import QuantizeForwardMode, RQVAEModule
from sk_rqvae._training.batches import ResidentRows, run_length
from sk_rqvae._training.hold_out import hold_out
from sk_rqvae._training.seeds import Generators, draw_seed

MODES = [mode.value for mode in QuantizeForwardMode]


# History


@pytest.mark.parametrize("mode", MODES)
def test_the_history_has_a_row_per_epoch_with_every_term_of_the_loss(blobs, mode):
    estimator = small(codebook_mode=mode, codebook_size=(16, 8, 4)).fit(blobs)
    history = estimator.net_.history
    assert isinstance(estimator.net_, skorch.NeuralNet)
    assert len(history) == estimator.n_iter_ == 5
    assert history[:, "epoch"] == [1, 2, 3, 4, 5]
    for row in history:
        terms = [
            value
            for name, value in row.items()
            if name.startswith("train_") and name != "train_loss"
        ]
        assert {"train_reconstruction", "train_codebook", "train_commitment"} <= set(
            row
        )
        assert row["train_loss"] == pytest.approx(sum(terms))
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


UNCHANGED = {
    "max_epochs": 1,
    "lr": 1e-30,
    "noise": 0,
    "restart_dead_codes": False,
    "separate_ids": False,
}


def test_usage_and_perplexity_describe_the_codes_of_the_epoch(blobs):
    """One epoch at a learning rate of almost zero chooses the codes of `transform`."""
    estimator = small(**(UNCHANGED | {"n_beams": 1})).fit(blobs)
    codes = estimator.transform(blobs)
    row = estimator.net_.history[-1]
    for level, column in enumerate(codes.T):
        share = np.bincount(column, minlength=16) / len(column)
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
        assert row["usage"][level] == pytest.approx((share > 0).mean())
        assert row["perplexity"][level] == pytest.approx(np.exp(entropy), rel=1e-3)


def test_the_reconstruction_loss_is_the_unexplained_share_of_variance(blobs):
    estimator = small(**(UNCHANGED | {"n_beams": 1})).fit(blobs)
    (unexplained,) = estimator.net_.history[:, "train_reconstruction"]
    assert 1 - unexplained == pytest.approx(estimator.score(blobs), abs=1e-4)


def test_the_mean_loss_of_an_epoch_weights_batches_by_their_rows(blobs):
    losses = {}
    for batch_size in (600, 599):
        estimator = small(max_epochs=1, lr=1e-30, noise=0, batch_size=batch_size)
        estimator.fit(blobs)
        losses[batch_size] = estimator.net_.history[-1, "train_loss"]
    assert losses[599] == pytest.approx(losses[600], rel=1e-4)


class BatchSizes(Callback):
    """Collects the rows of each batch."""

    def on_train_begin(self, net, **kwargs):
        self.found = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.found.append(len(batch))


@pytest.mark.parametrize("resident_mb", [1, 0])
@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(599, [300, 300]), (250, [200, 200, 200]), (7000, [600]), (601, [600])],
)
def test_batches_are_of_equal_size_and_never_larger_than_asked_for(
    blobs, batch_size, sizes, resident_mb
):
    watch = BatchSizes()
    small(
        max_epochs=1, batch_size=batch_size, resident_mb=resident_mb, callbacks=[watch]
    ).fit(blobs)
    assert watch.found == sizes


def test_training_improves_the_loss(blobs):
    history = small(max_epochs=20, noise=0).fit(blobs).net_.history
    assert history[-1, "train_loss"] < history[0, "train_loss"]


# Learning rate


def rates(blobs, **changes):
    estimator = small(**{"lr": 0.01, "batch_size": 600} | changes)
    return estimator.fit(blobs).net_.history[:, "lr"]


def test_a_constant_learning_rate_does_not_change(blobs):
    found = rates(blobs, lr_schedule="constant", warmup_epochs=0, max_epochs=4)
    assert found == [0.01] * 4


def test_the_cosine_schedule_falls_from_the_learning_rate_towards_zero(blobs):
    found = rates(blobs, lr_schedule="cosine", warmup_epochs=0, max_epochs=8)
    expected = [0.005 * (1 + np.cos(np.pi * epoch / 8)) for epoch in range(8)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_learning_rate_rises_during_the_warm_up(blobs, schedule):
    found = rates(
        blobs,
        lr_schedule=schedule,
        warmup_epochs=3,
        max_epochs=12,
        batch_size=200,
    )
    rising, later = found[:3], found[3:]
    assert all(one < next_one < 0.01 for one, next_one in itertools.pairwise(rising))
    assert later[0] == pytest.approx(0.01, rel=0.05)


def test_a_warm_up_takes_at_most_half_of_the_epochs(blobs):
    found = rates(blobs, lr_schedule="constant", warmup_epochs=50, max_epochs=8)
    assert found == pytest.approx([0.002, 0.004, 0.006, 0.008] + [0.01] * 4)


class Rates(Callback):
    """The learning rate of the optimizer at every step."""

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


def test_early_stopping_records_the_loss_of_held_out_rows(blobs):
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


@pytest.mark.parametrize("resident_mb", ["auto", 0])
def test_held_out_rows_change_only_the_held_out_loss(blobs, resident_mb):
    options = {"early_stopping": True, "max_epochs": 1, "resident_mb": resident_mb}
    estimator = small(**options).fit(blobs)
    held_out = held_out_rows(blobs, estimator)
    changed = blobs.copy()
    changed[held_out] = 100 - changed[held_out]
    other = small(**options).fit(changed)
    assert_same_model(estimator, other)
    (loss,), (other_loss,) = (
        each.net_.history[:, "valid_loss"] for each in (estimator, other)
    )
    assert other_loss > 2 * loss


def held_out_rows(X, estimator):
    """Which rows `fit` holds out for early stopping."""
    run = 1 if estimator.resident_mb else run_length(len(X))
    rng = np.random.default_rng(draw_seed(0))
    _, held_out = hold_out(X, estimator.validation_fraction, run, rng)
    return held_out.index


class Ruin(Callback):
    """From an epoch on, make the model worse at every step."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training, **kwargs):
        if training and len(net.history) >= self.epoch:
            with torch.no_grad():
                for parameter in net.module_.decoder.parameters():
                    parameter.add_(0.5 * torch.ones_like(parameter))


@pytest.mark.parametrize("max_epochs", [6, 30])
def test_early_stopping_restores_the_weights_of_the_best_epoch(blobs, max_epochs):
    options = {"lr_schedule": "constant", "early_stopping": True}
    estimator = small(
        max_epochs=max_epochs, n_iter_no_change=4, callbacks=[Ruin(4)], **options
    ).fit(blobs)
    history = estimator.net_.history
    losses = history[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best < 3
    assert estimator.n_iter_ == min(max_epochs, best + 1 + 4)
    # The model reconstructs as in the best epoch, not as in the later ones.
    unexplained = 1 - estimator.score(blobs)
    assert abs(unexplained - losses[best]) < abs(unexplained - min(losses[3:]))


def test_the_held_out_loss_is_the_unexplained_variance_of_transform(blobs):
    """The columns have one scale, so that the unexplained shares are comparable."""
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


# Output


def test_verbose_prints_the_losses_of_each_epoch_in_80_columns(blobs, capsys):
    levels = {"n_layers": 5, "codebook_size": 300}
    small(max_epochs=3, verbose=1, early_stopping=True, **levels).fit(blobs)
    lines = capsys.readouterr().out.splitlines()
    header, rule, *rows = lines[:5]
    names = ["epoch", "perplexity", "train_reconstruction", "valid_loss", "dur"]
    assert header.split() == names
    assert set(rule) <= {"-", " "}
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert max(map(len, lines)) <= 80


def test_verbose_ends_with_a_summary_of_a_fit(blobs, capsys):
    model = small(max_epochs=2, verbose=1, codebook_size=(4, 2, 1)).fit(blobs)
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.fullmatch(
        r"Fitted in \d+\.\d s\. Codes in use, in epoch 2: 100%, 100%, 100%\.", last
    )
    model.partial_fit(blobs)
    assert "Fitted" not in capsys.readouterr().out


class EndsWithinTheEpoch(Callback):
    """Ends training in the middle of its first epoch."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_a_fit_that_ends_within_its_first_epoch_has_a_summary(blobs, capsys):
    small(verbose=1, callbacks=[EndsWithinTheEpoch()]).fit(blobs)
    assert re.fullmatch(r"Fitted in \d+\.\d s\.", capsys.readouterr().out.strip())


def test_the_summary_is_of_the_epoch_that_early_stopping_restores(capsys):
    noise = np.random.default_rng(0).normal(size=(400, 6))
    settings = {"early_stopping": True, "lr": 1.0, "restart_dead_codes": False}
    model = small(max_epochs=20, verbose=1, batch_size=50, **settings).fit(noise)
    losses = model.net_.history[:, "valid_loss"]
    best = losses.index(min(losses)) + 1
    assert best < len(losses)
    assert f"in epoch {best}: " in capsys.readouterr().out


def test_a_loss_of_the_user_is_printed(blobs, capsys):
    class Mine(RQVAEModule):
        def compute_loss(self, output):
            loss = self.reconstruction_loss(output.inputs, output.reconstruction)
            return {"loss": loss}

    small(max_epochs=1, verbose=1, module=Mine).fit(blobs)
    assert "train_loss" in capsys.readouterr().out.splitlines()[0]


def test_more_verbose_prints_all_that_the_history_records(blobs, capsys):
    small(max_epochs=3, verbose=2, early_stopping=True).fit(blobs)
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


def test_the_table_shows_small_learning_rates_and_one_value_per_level(blobs, capsys):
    options = {"max_epochs": 1, "verbose": 2, "batch_size": 600}
    small(lr=2e-6, warmup_epochs=0, **options).fit(blobs)
    assert "2e-06" in capsys.readouterr().out
    small(codebook_size=(4, 2, 1), **options).fit(blobs)
    assert "1 1 1" in capsys.readouterr().out


def test_nothing_is_printed_by_default(blobs, capsys):
    small(early_stopping=True).fit(blobs).partial_fit(blobs)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


# A custom module


class Smooth(RQVAEModule):
    """Adds a penalty on the latents to the loss."""

    def compute_loss(self, output):
        terms = super().compute_loss(output)
        return terms | {"penalty": 0.5 * output.latents.square().mean()}


class OnlyReconstruction(RQVAEModule):
    """A loss with one term."""

    def compute_loss(self, output):
        loss = self.reconstruction_loss(output.inputs, output.reconstruction)
        return {"mine": loss}


class Doubled(RQVAEModule):
    """Errors that count twice."""

    def row_losses(self, x, reconstruction):
        return 2 * super().row_losses(x, reconstruction)


def test_the_row_losses_of_a_custom_module_are_what_is_minimised(blobs):
    options = {"commitment_weight": 0, "separate_ids": False}
    model = small(module=Doubled, **options).fit(blobs)
    history = model.net_.history
    usual = small(**options).fit(blobs).net_.history
    first, *_ = zip(
        history[:, "train_reconstruction"],
        usual[:, "train_reconstruction"],
        strict=True,
    )
    assert first[0] == pytest.approx(2 * first[1], rel=0.05)
    codes, errors = model.candidates(blobs, k=1)
    module = model.net_.module_
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(blobs))
        decoded = module.reconstruct(torch.from_numpy(codes[:, 0]))
    expected = 2 * (x - decoded).square().sum(1)
    np.testing.assert_allclose(errors[:, 0], expected, rtol=1e-4)


def test_the_loss_of_a_custom_module_is_minimised_and_recorded(blobs, fitted):
    estimator = small(module=Smooth).fit(blobs)
    assert type(estimator.net_.module_) is Smooth
    last = estimator.net_.history[-1]
    assert last["train_penalty"] > 0
    terms = [v for k, v in last.items() if k.startswith("train_") and k != "train_loss"]
    assert last["train_loss"] == pytest.approx(sum(terms))
    with torch.no_grad():
        sizes = [
            each.net_.module_.encode(torch.from_numpy(blobs)).square().mean()
            for each in (estimator, fitted)
        ]
    assert sizes[0] < sizes[1]


def test_a_custom_loss_need_not_have_the_default_terms(blobs):
    history = small(module=OnlyReconstruction).fit(blobs).net_.history
    assert history[-1, "train_loss"] == pytest.approx(history[-1, "train_mine"])
    assert "train_codebook" not in history[-1]


def test_early_stopping_works_with_a_custom_module(blobs):
    estimator = small(module=Smooth, early_stopping=True, max_epochs=3).fit(blobs)
    assert np.isfinite(estimator.net_.history[:, "valid_loss"]).all()


# Effects of parameters


def test_noise_raises_the_training_loss_and_transform_adds_none(blobs):
    quiet, noisy = small(noise=0.0), small(noise=2.0)
    losses = [
        each.fit(blobs).net_.history[-1, "train_reconstruction"]
        for each in (quiet, noisy)
    ]
    assert losses[0] < losses[1]
    np.testing.assert_array_equal(noisy.transform(blobs), noisy.transform(blobs))


@pytest.mark.parametrize("restart", [True, False])
def test_callbacks_see_the_model_in_evaluation_after_every_epoch(blobs, restart):
    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("in_training", net.module_.training)

    # A codebook of one code has no dead codes, so nothing is restarted.
    estimator = small(
        codebook_size=1, restart_dead_codes=restart, callbacks=[Watch()]
    ).fit(blobs)
    assert estimator.net_.history[:, "in_training"] == [False] * 5


def test_weight_decay_applies_to_the_mlps_alone(blobs):
    net = small(weight_decay=0.3, decoder_hidden_dims=(8,), n_experts=2).fit(blobs).net_
    groups, module = net.optimizer_.param_groups, net.module_
    decayed = sum(
        parameter.numel()
        for group in groups
        if group["weight_decay"] == 0.3
        for parameter in group["params"]
    )
    parts = (module.encoder.mlp, module.decoder.mlp, module.decoder.experts)
    assert decayed == sum(
        layer.weight.numel()
        for part in parts
        for layer in part.modules()
        if hasattr(layer, "weight")
    )


def test_kmeans_initialises_better_codebooks_than_random_residuals(blobs):
    by_kmeans, at_random = (
        small(codebook_kmeans_init=kmeans_init, max_epochs=1).fit(blobs)
        for kmeans_init in (True, False)
    )
    losses = [each.net_.history[0, "train_codebook"] for each in (by_kmeans, at_random)]
    assert losses[0] < losses[1]


def n_experts(estimator):
    experts = estimator.net_.module_.decoder.experts
    return 0 if experts is None else len(experts.centres)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 600 // 32),
        ({"n_experts": 3}, 3),
        ({"n_experts": 0}, 0),
        ({"linear_path": False}, 0),
        ({"hidden_dims": (8, 8)}, 0),
        ({"hidden_dims": ()}, 0),
        ({"decoder_hidden_dims": (16,)}, 0),
        ({"decoder_hidden_dims": (16,), "n_experts": 3}, 3),
    ],
    ids=str,
)
def test_the_decoder_has_experts_where_there_are_rows_for_them(
    blobs, options, expected
):
    assert n_experts(small(max_epochs=1, **options).fit(blobs[:600])) == expected


def test_there_is_an_expert_however_few_rows_there_are(blobs):
    assert n_experts(small(max_epochs=1).fit(blobs[:40])) == 1


def test_the_number_of_experts_stays_when_training_continues(blobs):
    estimator = small(max_epochs=1, warm_start=True).fit(blobs[:600])
    estimator.fit(blobs).partial_fit(blobs)
    assert n_experts(estimator) == 600 // 32


@pytest.mark.parametrize("options", [{"linear_path": False}, {"hidden_dims": ()}])
def test_experts_without_the_layers_that_they_need_are_refused(blobs, options):
    with pytest.raises(ValueError, match=r"n_experts must be 0 or None .* Got 2"):
        small(n_experts=2, **options).fit(blobs)


# Models that are exact from the beginning


def few_rows():
    return np.random.default_rng(0).normal(size=(60, 6))


def test_a_model_that_is_exact_from_the_beginning_is_not_trained():
    model = small(n_layers=2, codebook_size=64).set_params(max_epochs=None)
    model.fit(few_rows())
    assert model.n_iter_ == 1
    assert model.net_.history[-1, "lr"] == 0
    assert model.score(few_rows()) > 0.9999


@pytest.mark.parametrize("options", [{"linear_path": False}, {"embed_dim": 2}])
def test_a_model_with_exact_latents_is_trained_if_its_rows_are_not_exact(options):
    model = small(n_layers=2, codebook_size=64, **options).fit(few_rows())
    assert model.net_.history[-1, "lr"] > 0


def test_the_first_rows_of_a_sorted_file_do_not_decide_whether_a_model_is_exact():
    """The last rows alone have a third component, which two latents cannot encode."""
    X = np.tile([[2.0, 0.0, 0.0], [-1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]], (700, 1))
    X[1600:, 2] = np.where(np.arange(500) % 2, 1.0, -1.0)
    model = small(embed_dim=2, resident_mb=0, codebook_size=3, n_layers=1).fit(X)
    assert model.net_.history[-1, "lr"] > 0


@pytest.mark.filterwarnings("ignore:X has 5 different rows")
def test_no_code_of_a_model_that_is_exact_is_restarted(blobs):
    model = small().fit(np.repeat(blobs[:5], 120, axis=0))
    assert set(model.net_.history[:, "lr"]) == {0}
    assert not np.any(model.net_.history[:, "restarts"])


@pytest.mark.filterwarnings("ignore:X has 1 different rows")
@pytest.mark.parametrize("X", [np.full((6, 3), 7.3), [[1.0, 2.0, 3.0]]])
def test_equal_rows_are_reconstructed_exactly_without_training(X):
    model = small(max_epochs=None).fit(X)
    assert model.n_iter_ == 1
    assert model.score(X) == 1
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, 1e-6)


def test_skorch_keeps_the_checkpoint_of_the_best_epoch(blobs, tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path, sink=lambda text: None)
    options = {"early_stopping": True, "callbacks": [checkpoint]}
    model = small(**options).fit(blobs)
    history = model.net_.history
    losses = history[:, "valid_loss"]
    lowest = np.minimum.accumulate(losses)
    assert history[:, "valid_loss_best"] == [
        bool(loss == so_far) for loss, so_far in zip(losses, lowest, strict=True)
    ]
    assert any(tmp_path.iterdir())


def test_each_fit_has_a_best_epoch_of_its_own(blobs):
    model = small(early_stopping=True, warm_start=True, max_epochs=2).fit(blobs)
    n_before = len(model.net_.history)
    model.fit(100 * blobs + np.random.default_rng(0).normal(size=blobs.shape))
    assert model.net_.history[n_before, "valid_loss_best"]


def test_a_training_that_a_callback_makes_longer_ends_at_the_lowest_rate(blobs):
    class Longer(Callback):
        def on_train_begin(self, net, **kwargs):
            net.max_epochs = 6

    model = small(max_epochs=2, warmup_epochs=0, callbacks=[Longer()]).fit(blobs)
    rates = model.net_.history[:, "lr"]
    assert len(rates) == 6
    assert max(rates[2:]) == pytest.approx(0, abs=1e-12)


def test_a_clone_of_a_net_can_be_trained(fitted, blobs):
    net = clone(fitted.net_)
    rows = ResidentRows(torch.from_numpy(blobs), Generators(None, None))
    net.partial_fit(rows)
    assert len(net.history) == net.max_epochs
