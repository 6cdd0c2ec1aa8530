"""How many operations a training step launches, and whether it waits for the device."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import small
from operation_log import OperationLog
from skorch.callbacks import Callback

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.experts import Experts

MODES = [mode.value for mode in QuantizeForwardMode]
# More than any mode takes now. Each one costs a few microseconds on a GPU.
MAX_OPERATIONS = 262
MAX_OPERATIONS_WITH_EXPERTS = 290
# A plain autoencoder of three hidden layers with a quantizer.
PLAIN = {
    "hidden_dims": (16, 16, 16),
    "n_beams": 1,
    "dropout": 0.0,
    "linear_path": False,
    "noise": 0.0,
}
# The defaults, which choose the number of experts by the number of rows.
WITH_EXPERTS = {"n_experts": 8}


@pytest.fixture
def experts_as_on_a_gpu(monkeypatch):
    """Let all experts compute all rows of a batch.

    On a CPU each computes its own, in as many operations as the data need.
    """
    monkeypatch.setattr(Experts, "_in_groups", Experts._by_all)


class WatchSteps(Callback):
    """Record the operations of the last training step."""

    def on_batch_begin(self, net, **kwargs):
        self.log_ = OperationLog()
        self.log_.__enter__()

    def on_batch_end(self, net, **kwargs):
        self.log_.__exit__(None, None, None)


def last_step(X, **changes):
    watch = WatchSteps()
    few = {"max_epochs": 1, "separate_ids": False, "callbacks": [watch]}
    small(batch_size=128, **(few | changes)).fit(X[:256])
    return watch.log_


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.parametrize("mode", MODES)
def test_a_step_of_three_levels_launches_few_operations(blobs, mode):
    log = last_step(blobs, codebook_mode=mode, **PLAIN)
    # Detaching launches nothing, and how often autograd does so depends on its release.
    assert log.n_operations - log.n_detached <= MAX_OPERATIONS


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.parametrize(
    "options", [{"n_experts": 0}, PLAIN], ids=["without experts", "plain"]
)
@pytest.mark.parametrize("mode", MODES)
def test_the_number_of_operations_of_a_step_does_not_depend_on_the_codebook_size(
    blobs, mode, options
):
    few, many = (
        last_step(blobs, codebook_mode=mode, codebook_size=size, **options)
        for size in (16, 128)
    )
    assert few.n_operations == many.n_operations
    assert few.waits == many.waits == []


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.usefixtures("experts_as_on_a_gpu")
@pytest.mark.parametrize("mode", MODES)
def test_a_step_with_experts_launches_few_operations_on_a_gpu(blobs, mode):
    log = last_step(blobs, codebook_mode=mode, **WITH_EXPERTS)
    assert log.n_operations - log.n_detached <= MAX_OPERATIONS_WITH_EXPERTS


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.usefixtures("experts_as_on_a_gpu")
@pytest.mark.parametrize("mode", MODES)
def test_on_a_gpu_the_operations_of_experts_depend_on_neither_data_nor_codebook_size(
    blobs, mode
):
    noise = np.random.default_rng(0).normal(size=blobs.shape)
    counts = {
        last_step(
            X, codebook_mode=mode, codebook_size=size, **WITH_EXPERTS
        ).n_operations
        for X in (blobs, noise)
        for size in (16, 128)
    }
    assert len(counts) == 1
