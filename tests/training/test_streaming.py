from __future__ import annotations

import numpy as np
import pytest
from conftest import assert_same_model, small


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
    as_started = {"lr": 1e-30, "weight_decay": 0, "restart_dead_codes": False}
    models = [
        small(max_epochs=1, resident_mb=size, **as_started).fit(blobs)
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
