from __future__ import annotations

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from conftest import small
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import QuantizeForwardMode, RQVAEModule, RQVAETransformer

MODES = [mode.value for mode in QuantizeForwardMode]


def by_pickle(estimator, tmp_path):
    return pickle.loads(pickle.dumps(estimator))


def by_joblib(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def by_compressed_joblib(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "model.joblib.gz", compress=3)
    return joblib.load(tmp_path / "model.joblib.gz")


def by_deepcopy(estimator, tmp_path):
    return copy.deepcopy(estimator)


ROUND_TRIPS = [by_pickle, by_joblib, by_compressed_joblib, by_deepcopy]


@pytest.fixture(scope="module", params=MODES)
def of_a_mode(request, blobs):
    return small(codebook_mode=request.param, max_epochs=2).fit(blobs)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_a_copy_gives_the_same_ids_and_reconstructions(
    blobs, of_a_mode, round_trip, tmp_path
):
    estimator = of_a_mode
    again = round_trip(estimator, tmp_path)
    codes = estimator.transform(blobs)
    np.testing.assert_array_equal(again.transform(blobs), codes)
    np.testing.assert_array_equal(
        again.inverse_transform(codes), estimator.inverse_transform(codes)
    )
    assert again.score(blobs) == estimator.score(blobs)
    assert again.n_iter_ == estimator.n_iter_
    assert again.net_.history == estimator.net_.history
    assert clone(again).get_params() == clone(estimator).get_params()


def test_a_pipeline_is_saved_with_its_steps(blobs, tmp_path):
    pipeline = make_pipeline(StandardScaler(), small(max_epochs=1)).fit(blobs)
    again = by_joblib(pipeline, tmp_path)
    np.testing.assert_array_equal(again.transform(blobs), pipeline.transform(blobs))


def size_of(thing):
    return len(pickle.dumps(thing))


def test_the_file_holds_the_weights_once_and_no_optimizer_state(blobs):
    estimator = small(hidden_dims=(2048,), max_epochs=1, warm_start=True).fit(blobs)
    assert estimator.net_.optimizer_.state
    module = estimator.net_.module_
    weights = sum(each.numel() * each.element_size() for each in module.parameters())
    size = size_of(estimator)
    assert size < 1.2 * weights + 50_000
    estimator.partial_fit(blobs)
    assert size_of(estimator) < size + 2_000
    again = pickle.loads(pickle.dumps(estimator))
    assert again.net_.optimizer_ is None
    assert again.net_.callbacks_ == []
    # Saving takes nothing from the estimator itself.
    assert estimator.net_.optimizer_.state


def test_the_file_does_not_hold_the_data(blobs):
    marked = blobs.copy()
    marked[0] = 12345.678
    for options in ({}, {"early_stopping": True}, {"resident_mb": 0}):
        estimator = small(max_epochs=1, **options).fit(marked)
        assert np.float32(12345.678).tobytes() not in pickle.dumps(estimator)
    many = np.tile(blobs, (20, 1))
    estimator = small(
        max_epochs=1, early_stopping=True, separate_ids=False, n_experts=1
    )
    of_few = size_of(clone(estimator).fit(blobs))
    assert size_of(estimator.fit(many)) < of_few + many.nbytes / 4


def test_an_unfitted_transformer_is_saved_with_its_parameters():
    estimator = small(codebook_mode=["ste", "sinkhorn", "ste"], codebook_size=(4, 3, 2))
    again = pickle.loads(pickle.dumps(estimator))
    assert again.get_params() == estimator.get_params()
    assert not hasattr(again, "net_")


def test_a_reloaded_model_continues_training_like_the_original(blobs):
    """All is the same except the moments of the optimizer, which are not saved."""
    estimator = small(max_epochs=2, warm_start=True).fit(blobs)
    again = pickle.loads(pickle.dumps(estimator))
    for each in (estimator, again):
        each.fit(blobs)
    np.testing.assert_array_equal(again.transform(blobs), estimator.transform(blobs))
    again.partial_fit(blobs)
    assert again.n_iter_ == 5


class Scaled(RQVAEModule):
    """A custom module with additional state."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.strength = torch.nn.Parameter(torch.ones(()))

    def decode(self, latents):
        return self.strength * super().decode(latents)


def test_weights_of_a_users_own_module_are_trained_and_saved(blobs, tmp_path):
    estimator = small(module=Scaled).fit(blobs)
    strength = estimator.net_.module_.strength.item()
    assert strength != 1
    again = by_joblib(estimator, tmp_path)
    assert again.net_.module_.strength.item() == strength
    np.testing.assert_array_equal(again.transform(blobs), estimator.transform(blobs))


def test_a_clone_of_a_fitted_transformer_is_unfitted(fitted):
    copied = clone(fitted)
    assert [name for name in vars(copied) if name.endswith("_")] == []
    assert isinstance(copied, RQVAETransformer)


def as_if_on_cuda(estimator, monkeypatch):
    """The bytes that a pickle would have had if the weights lay on a CUDA device."""
    on_cuda = copy.deepcopy(estimator)
    on_cuda.net_.device = "cuda"
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        return pickle.dumps(on_cuda)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_model_from_cuda_loads_where_there_is_none(blobs, fitted, monkeypatch):
    data = as_if_on_cuda(fitted, monkeypatch)
    assert b"cuda:0" in data
    with pytest.raises(RuntimeError, match="CUDA"):
        # The weights alone, without what makes them portable, do not load.
        torch.load(io.BytesIO(weights_as_if_on_cuda(fitted, monkeypatch)))
    with pytest.warns(UserWarning, match="CUDA"):
        again = pickle.loads(data)
    assert again.net_.module_.input_mean.device.type == "cpu"
    np.testing.assert_array_equal(again.transform(blobs), fitted.transform(blobs))
    again.set_params(device="auto").partial_fit(blobs)
    assert again.net_.device == "cpu"


def weights_as_if_on_cuda(estimator, monkeypatch):
    file = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(estimator.net_.module_.state_dict(), file)
    return file.getvalue()
