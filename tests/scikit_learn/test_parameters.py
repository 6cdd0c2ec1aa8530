from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import small
from skorch.callbacks import BatchScoring, EarlyStopping, EpochScoring

from sk_rqvae import RQVAETransformer

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")


def quick(**changes):
    return small(max_epochs=1, **changes)


BAD_PARAMETERS = [
    # name, value, error, the expectation in the message
    ("n_layers", 0, ValueError, "at least 1"),
    ("n_layers", 2.0, TypeError, "an int"),
    ("n_layers", True, TypeError, "an int"),
    ("codebook_size", 0, ValueError, "at least 1"),
    ("codebook_size", -3, ValueError, "at least 1"),
    ("codebook_size", 16.0, TypeError, "an int"),
    ("codebook_size", "16", TypeError, "an int"),
    ("codebook_size", None, TypeError, "an int"),
    ("codebook_size", np.array(16), TypeError, "an int"),
    ("codebook_size", iter((16, 16, 16)), TypeError, "an int"),
    ("codebook_size", (16, 16), ValueError, "one entry per level, 3"),
    ("codebook_size", (16, 0, 16), ValueError, "at least 1"),
    ("codebook_size", (16, 1.5, 16), TypeError, "an int"),
    ("codebook_size", (), ValueError, "one entry per level, 3"),
    ("codebook_size", 2**63, ValueError, "at most 2147483647"),
    ("codebook_size", torch.tensor(16), TypeError, "an int"),
    ("embed_dim", 10**30, ValueError, "at most 2147483647"),
    ("embed_dim", 0, ValueError, "at least 1"),
    ("embed_dim", 2.5, TypeError, "an int"),
    ("hidden_dims", (0,), ValueError, "at least 1"),
    ("hidden_dims", (8, -1), ValueError, "at least 1"),
    ("hidden_dims", (8.0,), TypeError, "an int"),
    ("hidden_dims", (10**30,), ValueError, "at most 2147483647"),
    ("hidden_dims", torch.tensor(8), TypeError, "a sequence of ints"),
    ("hidden_dims", 8, TypeError, "a sequence of ints"),
    ("hidden_dims", "8", TypeError, "a sequence of ints"),
    ("hidden_dims", None, TypeError, "a sequence of ints"),
    ("hidden_dims", iter((8,)), TypeError, "a sequence of ints"),
    ("hidden_dims", {8: 8}, TypeError, "a sequence of ints"),
    ("hidden_dims", np.array(8), TypeError, "a sequence of ints"),
    ("decoder_hidden_dims", (0,), ValueError, "at least 1"),
    ("decoder_hidden_dims", (8.0,), TypeError, "an int"),
    ("decoder_hidden_dims", 8, TypeError, "a sequence of ints"),
    ("n_experts", -1, ValueError, "at least 0"),
    ("n_experts", 10**30, ValueError, "at most 2147483647"),
    ("n_experts", 2.5, TypeError, "an int"),
    ("activation", "nope", ValueError, "'relu'"),
    ("dropout", 1.0, ValueError, "[0, 1)"),
    ("dropout", -0.1, ValueError, "[0, 1)"),
    ("dropout", "0.1", TypeError, "a number"),
    ("activation", None, ValueError, "'relu'"),
    ("activation", np.array(["a", "b"]), ValueError, "'relu'"),
    ("activation", torch.nn.ReLU, ValueError, "'relu'"),
    ("linear_path", np.array([1, 2]), TypeError, "True or False"),
    ("linear_path", 1, TypeError, "True or False"),
    ("codebook_mode", "nope", ValueError, "'rotation_trick'"),
    ("codebook_mode", None, TypeError, "a string"),
    ("codebook_mode", torch.tensor(3), TypeError, "a string"),
    ("codebook_mode", 3, TypeError, "a string"),
    ("codebook_mode", ("ste", "ste"), ValueError, "one entry per level, 3"),
    ("codebook_mode", ("ste", "nope", "ste"), ValueError, "'rotation_trick'"),
    ("codebook_mode", ("ste", None, "ste"), ValueError, "'rotation_trick'"),
    ("commitment_weight", 1e300, ValueError, "[0, 1e+30]"),
    ("commitment_weight", -0.1, ValueError, "[0, 1e+30]"),
    ("commitment_weight", float("nan"), ValueError, "[0, 1e+30]"),
    ("commitment_weight", float("inf"), ValueError, "[0, 1e+30]"),
    ("commitment_weight", "0.25", TypeError, "a number"),
    ("codebook_kmeans_init", "yes", TypeError, "True or False"),
    ("codebook_normalize", None, TypeError, "True or False"),
    ("codebook_sim_vq", 0, TypeError, "True or False"),
    ("n_beams", 0, ValueError, "at least 1"),
    ("n_beams", 2.0, TypeError, "an int"),
    ("rerank", None, TypeError, "True or False"),
    ("separate_ids", "yes", TypeError, "True or False"),
    ("separate_ids", np.array([True, False]), TypeError, "True or False"),
    ("affinity_weight", -1, ValueError, "[0, 1e+30]"),
    ("affinity_weight", 1e200, ValueError, "[0, 1e+30]"),
    ("affinity_weight", None, TypeError, "a number"),
    ("noise", 1e300, ValueError, "[0, 1e+30]"),
    ("noise", -1, ValueError, "[0, 1e+30]"),
    ("noise", float("inf"), ValueError, "[0, 1e+30]"),
    ("n_cat_features", -1, ValueError, "at least 0"),
    ("n_cat_features", 1.0, TypeError, "an int"),
    ("n_cat_features", 13, ValueError, "at most the number of columns, 12"),
    ("restart_dead_codes", "no", TypeError, "True or False"),
    ("init_sample_size", 0, ValueError, "at least 1"),
    ("max_epochs", 0, ValueError, "at least 1"),
    ("max_epochs", 1.5, TypeError, "an int"),
    ("max_epochs", "5", TypeError, "an int"),
    ("batch_size", 0, ValueError, "at least 1"),
    ("batch_size", -1, ValueError, "at least 1"),
    ("lr", -1, ValueError, "(0, inf)"),
    ("lr", 0, ValueError, "(0, inf)"),
    ("lr", 10**400, ValueError, "(0, inf)"),
    ("lr", float("nan"), ValueError, "(0, inf)"),
    ("lr", "1e-3", TypeError, "a number"),
    ("lr", 1j, TypeError, "a number"),
    ("weight_decay", -1e-3, ValueError, "[0, inf)"),
    ("lr_schedule", "nope", ValueError, "'cosine'"),
    ("lr_schedule", None, ValueError, "'cosine'"),
    ("lr_schedule", np.array(["a", "b"]), ValueError, "'cosine'"),
    ("warmup_epochs", -1, ValueError, "at least 0"),
    ("early_stopping", 1, TypeError, "True or False"),
    ("validation_fraction", 0.0, ValueError, "(0, 1)"),
    ("validation_fraction", 1.0, ValueError, "(0, 1)"),
    ("n_iter_no_change", 0, ValueError, "at least 1"),
    ("warm_start", "True", TypeError, "True or False"),
    ("module", None, TypeError, "RQVAEModule"),
    ("module", torch.nn.Linear, TypeError, "RQVAEModule"),
    ("module", "RQVAEModule", TypeError, "RQVAEModule"),
    ("callbacks", 5, TypeError, "a list of skorch callbacks"),
    ("callbacks", EarlyStopping(), TypeError, "a list of skorch callbacks"),
    ("callbacks", ["nope"], TypeError, "a skorch callback"),
    ("callbacks", [EpochScoring(len)], ValueError, "use_caching=False"),
    ("callbacks", [("name", BatchScoring(len))], ValueError, "use_caching=False"),
    ("callbacks", [(1, EarlyStopping())], TypeError, "a skorch callback"),
    ("resident_mb", -1, ValueError, "[0, 1000000000000.0]"),
    ("resident_mb", 1e308, ValueError, "[0, 1000000000000.0]"),
    ("resident_mb", "nope", ValueError, '"auto"'),
    ("resident_mb", None, TypeError, "a number"),
    ("mixed_precision", "fp16", ValueError, "'bf16'"),
    ("mixed_precision", True, ValueError, "'auto'"),
    ("mixed_precision", None, ValueError, "'no'"),
    ("mixed_precision", np.array(["a", "b"]), ValueError, "'no'"),
    ("device", "nope", ValueError, '"cuda"'),
    ("device", "meta", ValueError, '"cuda"'),
    ("device", None, TypeError, '"auto"'),
    ("device", 0, TypeError, '"auto"'),
    pytest.param("device", "cuda", ValueError, '"cpu"', marks=NO_CUDA),
    pytest.param("device", "cuda:7", ValueError, '"cpu"', marks=NO_CUDA),
    pytest.param("device", torch.device("cuda"), ValueError, '"cpu"', marks=NO_CUDA),
    ("random_state", "nope", ValueError, "a RandomState"),
    ("random_state", -1, ValueError, "[0, 2**32 - 1]"),
    ("random_state", 1.5, ValueError, "a RandomState"),
    ("random_state", np.random, ValueError, "a RandomState"),
    ("random_state", np.random.default_rng(0), ValueError, "a RandomState"),
    ("verbose", -1, ValueError, "at least 0"),
    ("verbose", "yes", TypeError, "an int"),
    ("verbose", None, TypeError, "an int"),
]


def quoted(value):
    """How an error message may quote a value or its invalid entry."""
    entries = value if isinstance(value, (tuple, list)) else []
    return [repr(value), str(len(entries)), *map(repr, entries)]


@pytest.mark.parametrize(("name", "value", "error", "expected"), BAD_PARAMETERS)
def test_the_error_of_a_bad_parameter_names_it_with_its_value_and_what_is_allowed(
    blobs, name, value, error, expected
):
    estimator = quick().set_params(**{name: value})
    with pytest.raises(error) as raised:
        estimator.fit(blobs)
    message = str(raised.value)
    assert type(raised.value) is error
    assert re.match(rf"{name}\b", message) or f"{name}=" in message, message
    assert expected in message
    assert "Got" in message or "available" in message
    assert any(form in message for form in quoted(value)), message
    assert not hasattr(estimator, "net_")
    assert not hasattr(estimator, "n_features_in_")


def test_every_parameter_has_a_bad_value_in_the_table():
    named = {getattr(row, "values", row)[0] for row in BAD_PARAMETERS}
    untested = set(RQVAETransformer().get_params()) - named
    assert not untested


def test_a_bad_parameter_is_refused_by_partial_fit_too(blobs):
    estimator = quick(lr=-1)
    with pytest.raises(ValueError, match="lr must be"):
        estimator.partial_fit(blobs)


def test_a_bad_parameter_does_not_change_a_fitted_model(blobs):
    estimator = quick().fit(blobs)
    codes = estimator.transform(blobs)
    with pytest.raises(ValueError, match="lr must be"):
        estimator.set_params(lr=-1).fit(blobs)
    np.testing.assert_array_equal(estimator.transform(blobs), codes)


GOOD_PARAMETERS = [
    {"codebook_size": np.int64(8)},
    {"codebook_size": [8, 4, 2]},
    {"codebook_size": np.array([8, 4, 2])},
    {"codebook_size": 1},
    {"codebook_mode": np.array(["ste", "sinkhorn", "ste"])},
    {"hidden_dims": []},
    {"hidden_dims": np.array([8, 4])},
    {"hidden_dims": [np.int32(8)]},
    {"decoder_hidden_dims": None},
    {"decoder_hidden_dims": []},
    {"decoder_hidden_dims": np.array([8, 4])},
    {"lr": np.float32(1e-3)},
    {"lr": 1},
    {"commitment_weight": 0},
    {"noise": 0},
    {"weight_decay": 0},
    {"batch_size": 1_000_000},
    {"batch_size": 7},
    {"batch_size": 10**30},
    {"commitment_weight": 10**30},
    {"n_beams": 10**30, "rerank": False, "codebook_size": 4},
    {"n_beams": 40},
    {"init_sample_size": 10**9},
    {"resident_mb": 0},
    {"resident_mb": 0.5},
    {"device": torch.device("cpu")},
    {"device": "cpu:0"},
    {"random_state": None},
    {"random_state": np.random.RandomState(0)},
    {"random_state": np.int64(3)},
    {"linear_path": np.True_},
    {"callbacks": []},
    {"callbacks": (EarlyStopping(monitor="train_loss"),)},
    {"warmup_epochs": 100},
    {"mixed_precision": "bf16"},
    {"mixed_precision": "no"},
]


def without_addresses(parameters):
    """A name that is the same in all processes of a parallel test run."""
    return re.sub(r" at 0x\w+", "", str(parameters))


@pytest.mark.parametrize("parameters", GOOD_PARAMETERS, ids=without_addresses)
def test_equivalent_types_of_a_parameter_are_accepted(blobs, parameters):
    rows = blobs[:100]
    estimator = quick().set_params(**parameters).fit(rows)
    assert estimator.transform(rows).shape == (100, 3)
