from __future__ import annotations

import numpy as np
import pytest
from conftest import assert_same_model, small
from skorch.callbacks import Callback

from sk_rqvae._training.batches import ResidentRows, StreamedRows


@pytest.mark.parametrize("mode", ["ste", "sinkhorn"])
def test_streamed_rows_train_as_well_as_resident_ones(blobs, tmp_path, mode):
    np.save(tmp_path / "rows.npy", blobs)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert not rows.flags.writeable
    resident = small(codebook_mode=mode).fit(blobs)
    streamed = small(codebook_mode=mode, resident_mb=0).fit(rows)
    assert streamed.score(rows) == pytest.approx(resident.score(blobs), abs=0.05)
    assert len(streamed.net_.history) == 5


def test_streamed_and_resident_rows_give_the_same_initial_codebooks(blobs):
    unchanged = {"lr": 1e-30, "weight_decay": 0, "restart_dead_codes": False}
    models = [
        small(max_epochs=1, resident_mb=size, **unchanged).fit(blobs)
        for size in ("auto", 0)
    ]
    for one, other in zip(*[model.codebooks_ for model in models], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_seed_gives_one_model_of_streamed_rows(blobs):
    assert_same_model(*(small(resident_mb=0).fit(blobs) for _ in range(2)))


def test_streamed_rows_work_with_early_stopping_and_partial_fit(blobs):
    estimator = small(resident_mb=0, early_stopping=True).fit(blobs)
    assert np.isfinite(estimator.net_.history[:, "valid_loss"]).all()
    estimator.partial_fit(blobs)
    assert estimator.n_iter_ == 6


class CountsEpochs(Callback):
    def initialize(self):
        self.n_epochs_ = 0
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.n_epochs_ += 1


def test_a_value_that_is_not_finite_in_a_file_is_named_before_training(blobs, tmp_path):
    rows = blobs.copy()
    rows[555, 7] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    counts = CountsEpochs()
    estimator = small(resident_mb=0, callbacks=[counts])
    with pytest.raises(ValueError, match="NaN in row 555, column 7"):
        estimator.fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert not hasattr(counts, "n_epochs_")


def test_training_and_held_out_rows_together_stay_within_the_limit(blobs):
    kinds = []

    class Watch(Callback):
        def on_train_begin(self, net, X, **kwargs):
            kinds.extend([type(X), type(net.train_split(X)[1])])

    estimator = small(early_stopping=True, validation_fraction=0.8, callbacks=[Watch()])
    megabytes = blobs.nbytes / 2**20
    for share, kind in ((1.01, ResidentRows), (0.5, StreamedRows)):
        estimator.set_params(resident_mb=share * megabytes).fit(blobs)
        assert kinds[-2:] == [kind, kind]
