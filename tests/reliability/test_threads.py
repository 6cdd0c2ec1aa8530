"""One transformer, many threads."""

from __future__ import annotations

import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ReadWith, assert_same_model, small
from skorch.callbacks import Callback

from sk_rqvae import BlockScaler
from sk_rqvae.scorers import explained_variance_scorer, neg_reconstruction_error_scorer

# Fits that are over at once, so that a new model comes often.
QUICK = {
    "max_epochs": 1,
    "n_layers": 3,
    "codebook_size": 16,
    "embed_dim": None,
    "codebook_kmeans_init": False,
    "separate_ids": False,
}
N_REFITS = 18


def test_a_transform_uses_one_model_while_another_thread_refits(blobs, eager_switches):
    rows = blobs[:50]
    variants = [{"n_layers": 2}, {"n_layers": 3, "codebook_size": 8}, {"embed_dim": 4}]
    expected = [
        small(**(QUICK | variant)).fit(blobs).transform(rows) for variant in variants
    ]
    estimator = small(**(QUICK | variants[0])).fit(blobs)
    is_over = threading.Event()

    def refit():
        for variant in itertools.islice(itertools.cycle(variants), N_REFITS):
            estimator.set_params(**(QUICK | variant)).fit(blobs)
        is_over.set()

    with ThreadPoolExecutor(2) as pool:
        fitting = pool.submit(refit)
        n_seen = 0
        while not is_over.is_set():
            codes = estimator.transform(rows)
            assert any(np.array_equal(codes, each) for each in expected)
            n_seen += 1
        fitting.result()
    assert n_seen > 0


def test_a_transform_never_sees_columns_of_another_fit(blobs, eager_switches):
    frames = [as_frame(blobs), as_frame(blobs)[["f1", "f0", "f2"]]]
    options = QUICK | {"n_layers": 1, "codebook_size": 8}
    expected = [small(**options).fit(each).transform(each) for each in frames]
    estimator = small(**options).fit(frames[0])
    is_over = threading.Event()

    def refit():
        for frame in itertools.islice(itertools.cycle(frames), N_REFITS):
            estimator.fit(frame)
        is_over.set()

    thread = threading.Thread(target=refit)
    thread.start()
    messages = set()
    while not is_over.is_set():
        for frame, codes in zip(frames, expected, strict=True):
            try:
                found = estimator.transform(frame)
            except ValueError as error:
                messages.add(str(error))
            else:
                np.testing.assert_array_equal(found, codes)
    thread.join()
    assert all("feature names" in message for message in messages)


def as_frame(rows):
    import pandas as pd

    return pd.DataFrame(rows[:, :3], columns=["f0", "f1", "f2"])


def test_partial_fits_of_two_threads_both_count(blobs, eager_switches):
    estimator = small().fit(blobs)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(estimator.partial_fit, [blobs] * 6):
            pass
    assert estimator.n_iter_ == 5 + 6
    one_by_one = small().fit(blobs)
    for _ in range(6):
        one_by_one.partial_fit(blobs)
    assert_same_model(estimator, one_by_one)


class WaitsInEpoch(Callback):
    """Hold a fit up."""

    def __init__(self):
        self.is_waiting = threading.Event()
        self.may_go_on = threading.Event()

    def on_epoch_begin(self, net, **kwargs):
        self.is_waiting.set()
        assert self.may_go_on.wait(60)


def test_nothing_but_another_fit_waits_for_a_fit(blobs):
    estimator = small(max_epochs=1).fit(blobs)
    codes = estimator.transform(blobs)
    hold_up = WaitsInEpoch()
    estimator.set_params(callbacks=[hold_up])
    thread = threading.Thread(target=estimator.fit, args=(blobs,))
    thread.start()
    try:
        assert hold_up.is_waiting.wait(60)
        np.testing.assert_array_equal(estimator.transform(blobs), codes)
        assert small(max_epochs=1).fit(blobs).transform(blobs).shape == codes.shape
    finally:
        hold_up.may_go_on.set()
        thread.join()


def test_a_transformer_can_be_copied_while_attributes_are_set(eager_switches):
    """During a fit, scikit-learn sets attributes and deletes them again."""
    estimator = small()
    is_over = threading.Event()

    def set_and_delete():
        while not is_over.is_set():
            estimator.extra_ = 0
            is_over.is_set()  # threads can take turns at a call
            del estimator.extra_

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(set_and_delete)
        try:
            for _ in range(3000):
                assert copy.copy(estimator).n_layers == 3
        finally:
            is_over.set()
        changing.result()


@pytest.mark.parametrize(
    "scorer", [neg_reconstruction_error_scorer, explained_variance_scorer]
)
def test_a_score_is_of_one_model_if_the_model_is_fitted_again_meanwhile(blobs, scorer):
    one, other = (small(**QUICK, lr=rate).fit(blobs) for rate in (1e-3, 0.3))
    expected = scorer(one, blobs)
    refitted = copy.copy(one)
    rows = ReadWith(blobs, lambda: vars(refitted).update(vars(other)))
    assert scorer(refitted, rows) == expected
    assert scorer(refitted, blobs) == scorer(other, blobs) != expected


def test_a_block_scaler_transforms_by_one_fit_if_it_is_fitted_again_meanwhile(blobs):
    blobs = blobs.astype(float)
    scaler = BlockScaler([4, 8]).fit(blobs)
    expected = scaler.transform(blobs)
    rows = ReadWith(blobs, lambda: scaler.set_params(blocks=[6, 6]).fit(10 * blobs + 3))
    np.testing.assert_array_equal(scaler.transform(rows), expected)
    assert scaler.block_sizes_ == [6, 6]
    restored = ReadWith(
        scaler.transform(blobs), lambda: scaler.set_params(blocks=[4, 8]).fit(blobs)
    )
    np.testing.assert_allclose(scaler.inverse_transform(restored), blobs, atol=1e-4)


def test_what_is_set_while_a_block_scaler_is_fitted_stays(blobs):
    scaler = BlockScaler([4, 8])

    def set_meanwhile():
        scaler.set_params(add_indicator=True).set_output(transform="pandas")

    scaler.fit(ReadWith(blobs, set_meanwhile))
    assert scaler.add_indicator
    assert list(scaler.transform(blobs).columns)[-1] == "missing_block1"
