"""How much a training step asks of a device: operations launched, and waits for it."""

from __future__ import annotations

import pytest
from conftest import small
from places import Places
from skorch.callbacks import Callback

from sk_rqvae import QuantizeForwardMode

MODES = [mode.value for mode in QuantizeForwardMode]
# A plain autoencoder of three hidden layers, and the quantizer alone beside it.
PLAIN = {
    "hidden_dims": (16, 16, 16),
    "n_beams": 1,
    "dropout": 0.0,
    "linear_path": False,
    "noise": 0.0,
    "prefix_weight": 0.0,
}


class WatchSteps(Callback):
    """Remember what the last training step did."""

    def on_batch_begin(self, net, **kwargs):
        self.places_ = Places()
        self.places_.__enter__()

    def on_batch_end(self, net, **kwargs):
        self.places_.__exit__(None, None, None)


def last_step(X, **changes):
    watch = WatchSteps()
    few = {"max_epochs": 1, "separate_ids": False, "callbacks": [watch]}
    small(batch_size=128, **(few | changes)).fit(X[:256])
    return watch.places_


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.parametrize("mode", MODES)
def test_a_step_of_three_levels_takes_at_most_300_operations(blobs, mode):
    places = last_step(blobs, codebook_mode=mode, **PLAIN)
    # Autograd detaches what it keeps, 38 times in torch 2.13 and 64 times in 2.4. That
    # launches nothing, so the bar is on the rest.
    assert places.n_operations - places.n_detached <= 300 - 38


@pytest.mark.filterwarnings("ignore::sk_rqvae.exceptions.CollapseWarning")
@pytest.mark.parametrize("options", [{}, PLAIN], ids=["defaults", "plain"])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_takes_as_many_operations_with_many_codes_as_with_few(
    blobs, mode, options
):
    few, many = (
        last_step(blobs, codebook_mode=mode, codebook_size=size, **options)
        for size in (4, 128)
    )
    assert few.n_operations == many.n_operations
    assert few.waits == many.waits == []
