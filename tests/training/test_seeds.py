from __future__ import annotations

import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small

from sk_rqvae import QuantizeForwardMode, RQVAEModule

MODES = [mode.value for mode in QuantizeForwardMode]


@pytest.mark.parametrize("mode", MODES)
def test_one_seed_gives_one_model_bit_for_bit(blobs, mode):
    options = {"codebook_mode": mode, "early_stopping": True, "batch_size": 128}
    first, second = (small(**options).fit(blobs) for _ in range(2))
    assert_same_model(first, second)
    np.testing.assert_array_equal(first.transform(blobs), second.transform(blobs))
    histories = [copy.deepcopy(each.net_.history) for each in (first, second)]
    for row in [row for history in histories for row in history]:
        assert row.pop("dur") > 0
    assert histories[0] == histories[1]


def test_other_seeds_give_other_models(blobs, fitted):
    codes = fitted.transform(blobs)
    for seed in (1, None):
        other = small(random_state=seed).fit_transform(blobs)
        assert not np.array_equal(other, codes)


def test_without_a_seed_every_fit_differs_whatever_the_global_seed(blobs):
    codes = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        codes.append(small(random_state=None).fit_transform(blobs))
    assert not np.array_equal(*codes)


def test_a_random_state_instance_advances_from_fit_to_fit(blobs):
    state = np.random.RandomState(0)
    codes = [small(random_state=state).fit_transform(blobs) for _ in range(2)]
    assert not np.array_equal(*codes)
    again = np.random.RandomState(0)
    np.testing.assert_array_equal(
        small(random_state=again).fit_transform(blobs), codes[0]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: np.concatenate([rows, rows[:1]]),
        lambda rows: rows.astype(np.float16),
    ],
    ids=["another order", "one more row", "rounded"],
)
def test_any_change_to_the_data_changes_the_model(blobs, fitted, change):
    other = small().fit(change(blobs)).transform(blobs)
    share = (other != fitted.transform(blobs)).any(axis=1).mean()
    assert share > 0.5


def test_streamed_rows_train_another_model_than_resident_ones(blobs, fitted):
    codes = small(resident_mb=0).fit_transform(blobs)
    assert not np.array_equal(codes, fitted.transform(blobs))


def test_fits_in_threads_give_the_models_of_separate_fits(blobs):
    state = torch.get_rng_state()
    alone = [small(random_state=seed).fit_transform(blobs) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = pool.map(
            lambda seed: small(random_state=seed).fit_transform(blobs), range(3)
        )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


class WithALayer(RQVAEModule):
    """A user's model with random weights of its own."""

    def __init__(self, n_features, **arguments):
        super().__init__(n_features, **arguments)
        self.mine = torch.nn.Linear(3, 3)


def test_the_seed_initialises_the_layers_of_a_custom_module_too(blobs):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(small(module=WithALayer).fit(blobs))
    assert_same_model(*models)


class DrawsInTraining(RQVAEModule):
    """A user's model that draws random numbers in every step."""

    def forward(self, x):
        scale = 1 + 0.1 * torch.rand(1, device=x.device)
        x = scale * x + 0.1 * torch.randn_like(x)
        return super().forward(torch.nn.functional.dropout(x, 0.1))

    def compute_loss(self, output):
        noise = torch.distributions.Normal(0.0, 1.0).sample((2,)).sum()
        parts = super().compute_loss(output)
        return parts | {"mine": (1 + 0.1 * noise) * parts["reconstruction"]}


def test_the_seed_fixes_what_a_users_module_draws_in_training(blobs):
    models, states = [], []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        models.append(small(module=DrawsInTraining).fit(blobs))
        states.append(torch.equal(torch.get_rng_state(), before))
    assert_same_model(*models)
    assert states == [True, True]


class Draws(threading.Thread):
    """Draw from torch's global generator all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.is_over = threading.Event()
        self.numbers = []

    def run(self):
        while not self.is_over.wait(1e-3):
            self.numbers.append(torch.rand(4).tolist())


def test_random_numbers_of_another_thread_and_of_a_fit_are_independent(blobs):
    options = {"codebook_mode": "gumbel_softmax", "dropout": 0.1}
    alone = small(**options).fit(blobs)
    torch.manual_seed(0)
    other = Draws()
    other.start()
    try:
        together = small(**options).fit(blobs)
    finally:
        other.is_over.set()
        other.join()
    assert_same_model(alone, together)
    torch.manual_seed(0)
    assert other.numbers == [torch.rand(4).tolist() for _ in other.numbers]


@pytest.mark.parametrize("random_state", [0, None])
def test_a_fit_changes_neither_global_generators_nor_thread_counts(blobs, random_state):
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
