from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import small
from hypothesis import given
from hypothesis import strategies as st
from skorch.callbacks import Callback

from sk_rqvae._defaults import LARGE_STEP_EPOCHS, MAX_STEPS
from sk_rqvae._initialization.plan import (
    _MAX_EPOCHS,
    number_of_epochs,
    rows_per_step,
)

numbers_of_rows = st.integers(1, 10**8)


@given(numbers_of_rows)
def test_a_fit_makes_enough_steps_or_epochs(n_rows):
    batch_size = rows_per_step(n_rows)
    n_epochs = number_of_epochs(n_rows, batch_size)
    n_steps = n_epochs * math.ceil(n_rows / batch_size)
    assert n_steps >= MAX_STEPS or n_epochs in (LARGE_STEP_EPOCHS, _MAX_EPOCHS)


@given(numbers_of_rows, numbers_of_rows)
def test_more_rows_never_make_smaller_steps(one, other):
    fewer, more = sorted((one, other))
    assert rows_per_step(fewer) <= rows_per_step(more)


class CountSteps(Callback):
    def on_train_begin(self, net, **kwargs):
        self.sizes_ = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.sizes_.append(len(batch))


@given(numbers_of_rows, st.integers(1, 2048))
def test_smaller_steps_make_as_many_epochs_as_usual(n_rows, batch_size):
    usual = rows_per_step(n_rows)
    if batch_size <= usual:
        n_epochs = number_of_epochs(n_rows, batch_size)
        assert n_epochs == number_of_epochs(n_rows, usual)


def fit_on_random_rows(n_rows, **options):
    X = np.random.default_rng(0).normal(size=(n_rows, 2)).astype(np.float32)
    return small(
        n_layers=1,
        codebook_size=4,
        hidden_dims=(),
        max_epochs=1,
        separate_ids=False,
        **options,
    ).fit(X)


def test_a_fit_on_many_rows_takes_larger_steps_than_on_few():
    def largest_step(n_rows, **options):
        count = CountSteps()
        fit_on_random_rows(n_rows, callbacks=[count], **options)
        return max(count.sizes_)

    assert largest_step(40_000) > largest_step(1000)
    assert largest_step(40_000, batch_size=100) == 100


def test_a_partial_fit_of_many_rows_takes_small_steps_as_it_makes_one_epoch():
    count = CountSteps()
    model = small(n_layers=1, hidden_dims=(), callbacks=[count])
    model.partial_fit(np.random.default_rng(0).normal(size=(40_000, 2)))
    assert max(count.sizes_) < rows_per_step(40_000)


def test_the_learning_rate_grows_with_the_root_of_larger_steps():
    options = {"lr": 0.001, "lr_schedule": "constant", "warmup_epochs": 0}

    def rate(n_rows, **more):
        return fit_on_random_rows(n_rows, **options, **more).net_.history[0, "lr"]

    assert rate(1000) == pytest.approx(0.001)
    assert rate(40_000) == pytest.approx(0.001 * (rows_per_step(40_000) / 256) ** 0.5)
    assert rate(40_000, batch_size=2048) == pytest.approx(0.001)
