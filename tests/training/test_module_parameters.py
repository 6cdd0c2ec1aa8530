from __future__ import annotations

import joblib
import numpy as np
import pytest
import torch
from conftest import small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_rqvae import RQVAEModule, RQVAETransformer


class Weighted(RQVAEModule):
    """Has a term of the loss with a weight to be searched."""

    def __init__(self, *args, alpha=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def compute_loss(self, output):
        parts = super().compute_loss(output)
        lengths = output.latents.square().mean(0)
        parts["length"] = (torch.as_tensor(self.alpha) * lengths).mean()
        return parts


def weighted(**params):
    return small(module=Weighted, max_epochs=1, **params)


@pytest.fixture(scope="module")
def fitted(blobs):
    return weighted(module__alpha=0.5).fit(blobs)


def length(model):
    return model.net_.history[-1]["train_length"]


def test_a_parameter_reaches_the_module(blobs, fitted):
    assert fitted.net_.module_.alpha == 0.5
    assert length(fitted) > 0
    assert length(weighted().fit(blobs)) == 0


def test_the_weight_of_a_term_can_be_searched(blobs):
    grid = {"rq__module__alpha": [0.0, 2.0]}
    search = GridSearchCV(Pipeline([("rq", weighted())]), grid, cv=2)
    search.set_params(refit=False).fit(blobs)
    weak, strong = search.cv_results_["mean_test_score"]
    assert weak != strong


def test_a_clone_has_the_parameters_of_the_module():
    model = clone(weighted(module__alpha=0.5))
    assert model.get_params()["module__alpha"] == 0.5
    assert "module__alpha=0.5" in repr(model)


def test_another_parameter_is_refused_like_any_unknown_argument():
    with pytest.raises(TypeError, match="unexpected keyword argument 'alpha'"):
        RQVAETransformer(alpha=0.5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"module__alpha": 1}, "Got RQVAEModule, which has none of this name"),
        ({"module": Weighted, "module__noise": 1}, "the transformer passes noise"),
    ],
    ids=["unknown", "set by the transformer"],
)
def test_a_parameter_that_the_module_cannot_take_is_refused(blobs, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(blobs)


@pytest.mark.parametrize("continued", ["fit", "partial_fit"])
@pytest.mark.parametrize("before", [{}, {"module__alpha": 0.5}])
def test_a_continued_training_cannot_change_the_parameters_of_the_module(
    blobs, before, continued
):
    model = weighted(warm_start=True, **before).fit(blobs)
    getattr(model, continued)(blobs)
    model.set_params(module__alpha=0.7)
    with pytest.raises(ValueError, match=r"module__alpha is .* cannot be changed"):
        getattr(model, continued)(blobs)


class Opaque:
    """A value that is equal to nothing but itself."""


@pytest.mark.parametrize(
    "value",
    [Opaque(), float("nan"), {"a": np.ones(2)}, [(1, 2), (3,)]],
    ids=["object", "nan", "dict of arrays", "ragged list"],
)
def test_training_continues_with_a_parameter_of_any_kind(blobs, value):
    class Takes(RQVAEModule):
        def __init__(self, *args, value, **kwargs):
            super().__init__(*args, **kwargs)

    model = small(module=Takes, module__value=value, max_epochs=1)
    assert model.partial_fit(blobs).partial_fit(blobs).n_iter_ == 2


def test_a_parameter_that_is_set_after_the_fit_is_none_of_the_saved_module(
    blobs, tmp_path
):
    model = weighted().fit(blobs).set_params(module__alpha=3.0)
    model.save_pretrained(tmp_path)
    loaded = RQVAETransformer.from_pretrained(tmp_path, module=Weighted)
    assert loaded.get_params()["module__alpha"] == 3.0
    assert loaded.net_.module_.alpha == 0.0


def test_a_parameter_that_is_deleted_after_the_fit_stays_one_of_the_saved_module(
    blobs, tmp_path
):
    model = weighted(module__alpha=3.0).fit(blobs)
    del model.module__alpha
    model.save_pretrained(tmp_path)
    loaded = RQVAETransformer.from_pretrained(tmp_path, module=Weighted)
    assert "module__alpha" not in loaded.get_params()
    assert loaded.net_.module_.alpha == 3.0


def test_an_array_among_the_parameters_cannot_be_saved_without_pickle(blobs, tmp_path):
    model = weighted(embed_dim=4, module__alpha=np.ones(4)).fit(blobs)
    with pytest.raises(TypeError, match="module__alpha cannot be saved"):
        model.save_pretrained(tmp_path)


def test_a_reloaded_model_continues_with_an_array_among_its_parameters(blobs, tmp_path):
    weights = np.linspace(0.1, 1, 4)
    model = weighted(embed_dim=4, module__alpha=weights, warm_start=True).fit(blobs)
    joblib.dump(model, tmp_path / "model.joblib")
    assert joblib.load(tmp_path / "model.joblib").fit(blobs).n_iter_ == 2


def test_a_saved_model_keeps_the_parameters_of_its_module(blobs, fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "folder")
    joblib.dump(fitted, tmp_path / "model.joblib")
    loaded = RQVAETransformer.from_pretrained(tmp_path / "folder", module=Weighted)
    for model in (loaded, joblib.load(tmp_path / "model.joblib")):
        assert model.get_params()["module__alpha"] == 0.5
        assert model.net_.module_.alpha == 0.5
    assert length(loaded.partial_fit(blobs)) > 0
