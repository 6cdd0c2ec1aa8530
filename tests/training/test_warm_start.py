from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small
from scipy.sparse import csr_array
from skorch.callbacks import Callback, GradientNormClipping

from sk_rqvae import RQVAEModule
from sk_rqvae._training import fit


def test_fit_trains_a_new_model_unless_warm_start_is_set(blobs):
    estimator = small(max_epochs=2).fit(blobs)
    first = estimator.transform(blobs)
    np.testing.assert_array_equal(estimator.fit(blobs).transform(blobs), first)
    assert estimator.n_iter_ == 2


def test_a_warm_start_continues_from_the_fitted_model(blobs):
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


def test_a_warm_start_uses_changed_parameters(blobs):
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


def test_partial_fit_is_one_epoch_at_a_constant_learning_rate(blobs):
    estimator = small(lr=0.003, max_epochs=50, batch_size=100)
    estimator.partial_fit(blobs[:300])
    assert estimator.n_iter_ == 1
    estimator.set_params(lr=0.001).partial_fit(blobs[300:])
    assert estimator.net_.history[:, "lr"] == [0.003, 0.001]
    assert estimator.transform(blobs).shape == (600, 3)


def test_partial_fit_after_fit_keeps_the_standardisation(blobs):
    estimator = small().fit(blobs[:400])
    center = estimator.net_.module_.input_mean.clone()
    estimator.partial_fit(blobs[400:])
    assert estimator.n_iter_ == 6
    assert torch.equal(estimator.net_.module_.input_mean, center)


def test_partial_fit_improves_the_score_of_new_rows(blobs):
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


def test_a_warm_start_begins_with_a_new_optimizer(blobs):
    estimator = small(batch_size=100, warm_start=True, max_epochs=1).fit(blobs)
    estimator.fit(blobs)
    states = estimator.net_.optimizer_.state_dict()["state"].values()
    assert {int(state["step"]) for state in states} == {6}


def test_every_partial_fit_has_another_order_of_rows(blobs):
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


def test_a_warm_start_with_a_low_learning_rate_keeps_the_score(blobs):
    estimator = small(lr=1e-2, warm_start=True).fit(blobs)
    before = estimator.score(blobs)
    estimator.set_params(lr=1e-4, noise=0.0).fit(blobs)
    assert estimator.n_iter_ == 10
    assert estimator.score(blobs) > before - 0.05


# Every parameter, changed between two fits

REFUSED = {
    "n_layers": 2,
    "codebook_size": 8,
    "embed_dim": 5,
    "hidden_dims": (16,),
    "decoder_hidden_dims": (16,),
    "n_experts": 3,
    "activation": "gelu",
    "linear_path": False,
    "n_cat_features": 1,
    "module": type("Other", (RQVAEModule,), {}),
    "codebook_normalize": True,
    "codebook_sim_vq": True,
}
HONOURED = {
    "dropout": 0.5,
    "codebook_mode": "gumbel_softmax",
    "commitment_weight": 3.0,
    "noise": 5.0,
    "n_beams": 2,
    "rerank": False,
    "separate_ids": False,
    "max_epochs": 4,
    "batch_size": 100,
    "lr": 1e-2,
    "weight_decay": 50.0,
    "lr_schedule": "constant",
    "warmup_epochs": 0,
    "early_stopping": True,
    "callbacks": [GradientNormClipping(1e-6)],
    "resident_mb": 0,
    "mixed_precision": "bf16",
    "random_state": 1,
}
ELSEWHERE = {
    "affinity_weight": "where there is affinity, see test_affinity.py",
    "codebook_kmeans_init": "the first fit has initialised the model",
    "init_sample_size": "the first fit has initialised the model",
    "warm_start": "it decides whether training continues at all",
    "validation_fraction": "with early_stopping",
    "n_iter_no_change": "with early_stopping",
    "restart_dead_codes": "where there are dead codes",
    "device": "on a machine with two",
    "verbose": "it prints",
}


def test_every_parameter_is_tested_for_warm_starts():
    names = set(small().get_params())
    assert names == REFUSED.keys() | HONOURED.keys() | ELSEWHERE.keys()


@pytest.fixture(scope="module")
def binary_last(blobs):
    return np.hstack([blobs, blobs[:, :1] > 0]).astype(np.float32)


@pytest.fixture(scope="module")
def first_fit(binary_last):
    """What the second fits continue from, each from a copy."""
    options = {"max_epochs": 1, "batch_size": 50, "separate_ids": True}
    return small(warm_start=True, **options).fit(binary_last)


@pytest.fixture(scope="module")
def unchanged(first_fit, binary_last):
    return copy.deepcopy(first_fit).fit(binary_last)


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_names_a_parameter_that_a_warm_start_cannot_change(
    first_fit, binary_last, name
):
    estimator = copy.deepcopy(first_fit).set_params(**{name: REFUSED[name]})
    with pytest.raises(ValueError, match=rf"^{name} is .*Got"):
        estimator.fit(binary_last)
    with pytest.raises(ValueError, match=rf"^{name} is .*Got"):
        estimator.partial_fit(binary_last)


def test_a_copy_continues_as_another_copy_does(first_fit, unchanged, binary_last):
    """Otherwise, changes of parameters would not be what the next tests find."""
    again = copy.deepcopy(first_fit).fit(binary_last)
    assert same_result(unchanged, again, binary_last)


@pytest.mark.parametrize("name", HONOURED)
def test_a_warm_start_honours_every_parameter_that_can_change(
    first_fit, unchanged, binary_last, name
):
    changed = copy.deepcopy(first_fit).set_params(**{name: HONOURED[name]})
    changed.fit(binary_last)
    assert not same_result(unchanged, changed, binary_last)


def same_result(one, other, X):
    states = [each.net_.module_.state_dict() for each in (one, other)]
    return (
        all(torch.equal(value, states[1][name]) for name, value in states[0].items())
        and one.n_iter_ == other.n_iter_
        and np.array_equal(one.transform(X), other.transform(X))
    )


def test_a_warm_start_trains_without_the_prices_of_the_fit_before(blobs):
    prices = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            prices.append(len(net.module_.price_keys))

    estimator = small(
        n_layers=2, codebook_size=8, max_epochs=1, warm_start=True, separate_ids=True
    )
    estimator.set_params(callbacks=[Watch()])
    rows = blobs[:60]
    assert len(estimator.fit(rows).net_.module_.price_keys)
    estimator.fit(rows)
    assert prices == [0, 0]


@pytest.mark.parametrize("rerank", [True, False])
def test_a_partial_fit_drops_prices_whose_unit_changes(blobs, rerank):
    options = {"n_layers": 2, "codebook_size": 8, "max_epochs": 1}
    rows = blobs[:60]
    model = small(separate_ids=True, rerank=rerank, **options).fit(rows)
    n_prices = len(model.net_.module_.price_keys)
    model.partial_fit(rows)
    assert len(model.net_.module_.price_keys) == n_prices > 0
    model.set_params(rerank=not rerank).partial_fit(rows)
    assert len(model.net_.module_.price_keys) == 0


class RowsOfEachFit(Callback):
    """Records the rows that train."""

    def __init__(self):
        self.rows = []

    def on_train_begin(self, net, X=None, **kwargs):
        self.rows.append({tuple(row) for row in np.asarray(X.rows[:]).tolist()})


def test_rows_that_a_fit_holds_out_train_no_later_fit(blobs):
    watch = RowsOfEachFit()
    options = {"early_stopping": True, "warm_start": True, "max_epochs": 2}
    small(callbacks=[watch], **options).fit(blobs).fit(blobs)
    first, second = watch.rows
    assert len(first) < len(blobs)
    assert first == second


def test_a_failed_warm_start_leaves_the_history_as_it_was(blobs):
    class Spoils(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.history[0]["usage"][:] = [0]
            net.history[0]["batches"].append({"x": 1})
            raise OSError("the end")

    model = small(max_epochs=1, warm_start=True).fit(blobs)
    before = copy.deepcopy(model.net_.history)
    with pytest.raises(OSError, match="the end"):
        model.set_params(callbacks=[Spoils()]).fit(blobs)
    assert model.net_.history == before


def test_rows_are_held_out_alike_with_and_without_affinity(blobs, monkeypatch):
    held_out = []
    hold_out = fit.hold_out
    monkeypatch.setattr(
        fit, "hold_out", lambda *args: held_out.append(hold_out(*args)) or held_out[-1]
    )
    pairs = np.arange(0, len(blobs) - 1, 2)
    affinity = csr_array((np.ones(len(pairs)), (pairs, pairs + 1)), (len(blobs),) * 2)
    options = {"early_stopping": True, "warm_start": True, "max_epochs": 1}
    model = small(**options, resident_mb=2 * blobs.nbytes / 2**20)
    model.fit(blobs, affinity=affinity).fit(blobs)
    (_, first), (_, second) = held_out
    np.testing.assert_array_equal(first.index, second.index)
