from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from conftest import small
from sklearn.preprocessing import QuantileTransformer
from skorch.callbacks import Callback

from sk_rqvae import CollapseWarning, QuantizeForwardMode
from sk_rqvae._training import fit
from sk_rqvae._training.collapse_warnings import (
    remedies,
    warn_of_collapse,
    warn_of_few_rows,
)

MODES = [mode.value for mode in QuantizeForwardMode]
REMEDIES = ["lower lr", "restart_dead_codes=True", "codebook_kmeans_init=True"]


def collapsing(mode):
    """Settings under which codebooks collapse."""
    return small(
        codebook_mode=mode,
        codebook_size=64,
        codebook_kmeans_init=False,
        restart_dead_codes=False,
        lr=10.0,
        weight_decay=0,
        batch_size=256,
        warmup_epochs=0,
        lr_schedule="constant",
        n_beams=1,
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_warning_of_a_collapse_names_level_used_codes_and_remedies(blobs, mode):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = collapsing(mode).fit(blobs)
    messages = [
        str(each.message) for each in caught if each.category is CollapseWarning
    ]
    assert messages
    last = estimator.net_.history[-1]
    for message in messages:
        level = int(message.split()[1])
        used = round(64 * last["usage"][level - 1])
        assert message.startswith(f"Level {level} collapsed: {used} of 64 codes")
        for remedy in REMEDIES:
            assert remedy in message
        assert ('codebook_mode="ste"' in message) == (mode != "ste")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("error::sk_rqvae.CollapseWarning")
def test_a_healthy_fit_does_not_warn(blobs, mode):
    estimator = small(codebook_mode=mode, codebook_size=32).fit(blobs)
    for usage in estimator.net_.history[-1, "usage"]:
        assert usage >= 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"codebook_kmeans_init": False},
        {"codebook_sim_vq": True},
        {"codebook_normalize": True},
        {"n_beams": 1},
        {"embed_dim": 3},
        {"linear_path": False},
        {"codebook_size": (32, 16, 1)},
        {"resident_mb": 0},
        {"early_stopping": True},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("error::sk_rqvae.CollapseWarning")
def test_no_healthy_configuration_warns_of_a_collapse(blobs, options):
    small(**options).fit(blobs)


@pytest.mark.filterwarnings("error::sk_rqvae.CollapseWarning")
def test_fewer_rows_than_codes_are_no_collapse(blobs):
    with pytest.warns(UserWarning, match="different rows"):
        small(codebook_size=64).fit(blobs[:20])


@pytest.mark.filterwarnings("ignore:The 64 codes of a level are initialised")
def test_a_collapse_is_warned_of_however_few_rows_initialise_the_codebooks(blobs):
    with pytest.warns(CollapseWarning):
        collapsing("ste").set_params(init_sample_size=100).fit(blobs)


@pytest.mark.filterwarnings("error::sk_rqvae.CollapseWarning")
def test_duplicates_are_no_collapse(blobs):
    with pytest.warns(UserWarning, match="5 different rows"):
        small(max_epochs=1).fit(np.tile(blobs[:5], (100, 1)))


def test_a_collapse_during_a_warm_start_is_warned_of(blobs):
    estimator = small(codebook_size=32, warm_start=True).fit(blobs)
    estimator.set_params(
        lr=10.0,
        weight_decay=0,
        batch_size=256,
        restart_dead_codes=False,
        warmup_epochs=0,
        n_beams=1,
    )
    with pytest.warns(CollapseWarning):
        estimator.fit(blobs)


def test_dead_codes_are_restarted_and_counted(blobs):
    options = {
        "codebook_kmeans_init": False,
        "codebook_size": 128,
        "n_beams": 1,
        "lr": 0.5,
        "max_epochs": 30,
    }
    alive, dead = (
        small(restart_dead_codes=restart, **options).fit(blobs).net_.history
        for restart in (True, False)
    )
    assert np.sum(alive[:, "restarts"]) > 0
    assert np.sum(dead[:, "restarts"]) == 0
    assert np.mean(alive[-1, "usage"]) > np.mean(dead[-1, "usage"])


def messages_of(usage, perplexity, sizes, n_distinct, **parameters):
    modes = [QuantizeForwardMode.STE] * len(sizes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_collapse(
            usage,
            perplexity,
            sizes,
            lambda n_rows: n_distinct,
            [remedies(small(**parameters), mode) for mode in modes],
        )
    return [str(each.message) for each in caught]


def test_each_collapsed_level_has_its_own_warning():
    messages = messages_of([1.0, 0.25, 0.5], [9.0, 2.0, 1.1], [16, 16, 16], 1000)
    assert len(messages) == 2
    assert "Level 2 collapsed: 4 of 16 codes are used" in messages[0]
    assert "perplexity of 2.0" in messages[0]
    assert "Level 3 collapsed" in messages[1]


@pytest.mark.parametrize("name", ["restart_dead_codes", "codebook_kmeans_init"])
def test_the_warning_of_a_collapse_leaves_out_what_the_fit_had(name):
    for value in (True, False):
        (message,) = messages_of([0.25], [2.0], [16], 1000, **{name: value})
        assert (f"{name}=True" in message) == (not value)
        assert "a lower lr" in message
        assert "a smaller codebook_size." in message


def test_many_codes_of_few_rows_are_a_hint_at_outliers_and_unused_codes_are_not():
    (lopsided,) = messages_of([1.0], [1.5], [16], 1000)
    (idle,) = messages_of([0.25], [1.5], [16], 1000)
    assert "QuantileTransformer" in lopsided
    assert "QuantileTransformer" not in idle


def test_the_advice_about_outliers_helps():
    rows = np.random.default_rng(0).standard_cauchy(size=(1100, 10))
    model = small(codebook_size=32)
    with pytest.warns(CollapseWarning, match="QuantileTransformer or sign"):
        model.fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        model.fit(QuantileTransformer(n_quantiles=100).fit_transform(rows))
        model.fit(np.sign(rows) * np.log1p(np.abs(rows)))


def test_a_codebook_of_one_code_cannot_collapse():
    assert messages_of([1.0], [1.0], [1], 1000) == []


def test_too_few_different_rows_are_no_evidence_of_a_collapse():
    assert messages_of([0.1], [1.5], [16], 63) == []
    assert len(messages_of([0.1], [1.5], [16], 64)) == 1


@pytest.mark.parametrize(
    ("sampled", "remedy"),
    [(False, "Lower codebook_size"), (True, "Raise init_sample_size")],
)
def test_the_warning_of_few_rows_per_code_says_what_to_change(sampled, remedy):
    with pytest.warns(UserWarning, match=f"31 different rows.*{remedy}"):
        warn_of_few_rows(31, [4, 16], sampled=sampled)


def test_the_number_of_rows_is_compared_with_the_largest_codebook():
    with pytest.warns(UserWarning, match="5 different rows, fewer than the 16 codes"):
        warn_of_few_rows(5, [4, 16], sampled=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few_rows(32, [4, 16], sampled=False)


class Collapse(Callback):
    """From the third epoch on, move all codes of a level but one far away."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) > 2:
            with torch.no_grad():
                net.module_.quantizer.levels[0].table[1:] = 100.0


def test_a_collapse_after_the_epoch_that_is_restored_is_not_warned_of(blobs):
    options = {"restart_dead_codes": False, "max_epochs": 6, "lr": 1e-4}
    stop = {"early_stopping": True, "n_iter_no_change": 10}
    with pytest.warns(CollapseWarning):
        small(callbacks=[Collapse()], **options).fit(blobs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapseWarning)
        small(callbacks=[Collapse()], **options, **stop).fit(blobs)


@pytest.mark.filterwarnings(
    "ignore:The 32 codes of a level are initialised from 40 different"
)
def test_fit_restarts_fewer_codes_if_there_are_few_rows(blobs):
    few = blobs[:40]
    fitted = small(codebook_size=32, max_epochs=40).fit(few)
    streamed = small(codebook_size=32)
    for _ in range(40):
        streamed.partial_fit(few)  # further calls may bring other rows
    fit, stream = (each.net_.history[:, "restarts"] for each in (fitted, streamed))
    assert 0 < np.sum(fit) < np.sum(stream) / 2


def test_a_later_fit_is_judged_by_its_own_epochs(blobs, monkeypatch):
    judged = []
    monkeypatch.setattr(
        fit, "warn_of_collapse", lambda usage, *others: judged.append(usage)
    )
    estimator = small(max_epochs=2, warm_start=True, early_stopping=True).fit(blobs)
    estimator.net_.history[0]["valid_loss"] = 0.0
    estimator.fit(blobs)
    assert judged[-1] in estimator.net_.history[2:, "usage"]
    assert judged[-1] not in estimator.net_.history[:2, "usage"]


def test_a_larger_sample_is_advised_only_if_the_sample_was_limited(blobs):
    rows = np.repeat(blobs[:3], 30, axis=0)
    weights = np.arange(90) + 1.0
    with pytest.warns(UserWarning, match="Lower codebook_size"):
        small().fit(rows, sample_weight=weights)
    with pytest.warns(UserWarning, match="Raise init_sample_size"):
        small(init_sample_size=60).fit(rows, sample_weight=weights)


def test_a_larger_sample_is_advised_if_weights_hide_rows():
    rows = np.random.default_rng(0).normal(size=(2000, 4))
    weights = 1 / np.arange(1, 2001) ** 3.0
    with pytest.warns(UserWarning, match="Raise init_sample_size"):
        small(n_layers=1, codebook_size=64, max_epochs=1, init_sample_size=2000).fit(
            rows, sample_weight=weights
        )
