from __future__ import annotations

import math

import numpy as np
from conftest import small
from hypothesis import given
from hypothesis import strategies as st
from skorch.callbacks import Callback

from sk_rqvae._defaults import MIN_STEPS
from sk_rqvae._initialization.plan import (
    _MAX_EPOCHS,
    number_of_epochs,
    rows_per_step,
)

numbers_of_rows = st.integers(1, 10**8)


@given(numbers_of_rows)
def test_a_fit_makes_enough_steps_unless_its_rows_are_very_few(n_rows):
    batch_size = rows_per_step(n_rows)
    n_epochs = number_of_epochs(n_rows, batch_size)
    n_steps = n_epochs * math.ceil(n_rows / batch_size)
    assert n_steps >= MIN_STEPS or n_epochs == _MAX_EPOCHS


@given(numbers_of_rows, numbers_of_rows)
def test_more_rows_never_make_smaller_steps(one, other):
    fewer, more = sorted((one, other))
    assert rows_per_step(fewer) <= rows_per_step(more)


class CountSteps(Callback):
    def on_train_begin(self, net, **kwargs):
        self.sizes_ = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        self.sizes_.append(len(batch))


def test_a_fit_on_many_rows_takes_larger_steps_than_on_few():
    def largest_step(n_rows, **options):
        count = CountSteps()
        X = np.random.default_rng(0).normal(size=(n_rows, 2)).astype(np.float32)
        small(
            n_layers=1,
            codebook_size=4,
            hidden_dims=(),
            max_epochs=1,
            separate_ids=False,
            callbacks=[count],
            **options,
        ).fit(X)
        return max(count.sizes_)

    assert largest_step(40_000) > largest_step(1000)
    assert largest_step(40_000, batch_size=100) == 100
