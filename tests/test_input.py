from __future__ import annotations

import re
import signal
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from scipy import sparse
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping

from sk_rqvae import CollapseWarning, RQVAEModule, RQVAETransformer
from sk_rqvae._net import RQVAENet

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")


def quick(**changes):
    return small(max_epochs=1, **changes)


BAD_PARAMETERS = [
    # name, value, error, what the message says is expected
    ("n_layers", 0, ValueError, "at least 1"),
    ("n_layers", 2.0, TypeError, "an int"),
    ("n_layers", True, TypeError, "an int"),
    ("codebook_size", 0, ValueError, "at least 1"),
    ("codebook_size", -3, ValueError, "at least 1"),
    ("codebook_size", 16.0, TypeError, "an int"),
    ("codebook_size", "16", TypeError, "an int"),
    ("codebook_size", None, TypeError, "an int"),
    ("codebook_size", np.array(16), TypeError, "an int"),
    ("codebook_size", (16, 16), ValueError, "one entry per layer, 3"),
    ("codebook_size", (16, 0, 16), ValueError, "at least 1"),
    ("codebook_size", (16, 1.5, 16), TypeError, "an int"),
    ("codebook_size", (), ValueError, "one entry per layer, 3"),
    ("embed_dim", 0, ValueError, "at least 1"),
    ("embed_dim", 2.5, TypeError, "an int"),
    ("hidden_dims", (0,), ValueError, "at least 1"),
    ("hidden_dims", (8, -1), ValueError, "at least 1"),
    ("hidden_dims", (8.0,), TypeError, "an int"),
    ("hidden_dims", 8, TypeError, "a sequence of ints"),
    ("hidden_dims", "8", TypeError, "a sequence of ints"),
    ("hidden_dims", None, TypeError, "a sequence of ints"),
    ("hidden_dims", np.array(8), TypeError, "a sequence of ints"),
    ("activation", "nope", ValueError, "'relu'"),
    ("dropout", 1.0, ValueError, "[0, 1)"),
    ("dropout", -0.1, ValueError, "[0, 1)"),
    ("dropout", "0.1", TypeError, "a number"),
    ("activation", None, ValueError, "'relu'"),
    ("activation", torch.nn.ReLU, ValueError, "'relu'"),
    ("linear_path", 1, TypeError, "True or False"),
    ("codebook_mode", "nope", ValueError, "'rotation_trick'"),
    ("codebook_mode", None, TypeError, "a string"),
    ("codebook_mode", 3, TypeError, "a string"),
    ("codebook_mode", ("ste", "ste"), ValueError, "one entry per layer, 3"),
    ("codebook_mode", ("ste", "nope", "ste"), ValueError, "'rotation_trick'"),
    ("codebook_mode", ("ste", None, "ste"), ValueError, "'rotation_trick'"),
    ("commitment_weight", -0.1, ValueError, "[0, inf)"),
    ("commitment_weight", float("nan"), ValueError, "[0, inf)"),
    ("commitment_weight", float("inf"), ValueError, "[0, inf)"),
    ("commitment_weight", "0.25", TypeError, "a number"),
    ("codebook_kmeans_init", "yes", TypeError, "True or False"),
    ("codebook_normalize", None, TypeError, "True or False"),
    ("codebook_sim_vq", 0, TypeError, "True or False"),
    ("n_beams", 0, ValueError, "at least 1"),
    ("n_beams", 2.0, TypeError, "an int"),
    ("rerank", None, TypeError, "True or False"),
    ("separate_ids", "yes", TypeError, "True or False"),
    ("prefix_weight", -0.5, ValueError, "[0, inf)"),
    ("noise", -1, ValueError, "[0, inf)"),
    ("noise", float("inf"), ValueError, "[0, inf)"),
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
    ("lr", float("nan"), ValueError, "(0, inf)"),
    ("lr", "1e-3", TypeError, "a number"),
    ("lr", 1j, TypeError, "a number"),
    ("weight_decay", -1e-3, ValueError, "[0, inf)"),
    ("lr_schedule", "nope", ValueError, "'cosine'"),
    ("lr_schedule", None, ValueError, "'cosine'"),
    ("warmup_epochs", -1, ValueError, "at least 0"),
    ("lr_step_size", 0, ValueError, "at least 1"),
    ("lr_gamma", 0, ValueError, "(0, 1]"),
    ("lr_gamma", 1.5, ValueError, "(0, 1]"),
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
    ("callbacks", [(1, EarlyStopping())], TypeError, "a skorch callback"),
    ("resident_mb", -1, ValueError, "[0, inf)"),
    ("resident_mb", "nope", ValueError, '"auto"'),
    ("resident_mb", None, TypeError, "a number"),
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
    ("random_state", np.random.default_rng(0), ValueError, "a RandomState"),
    ("verbose", -1, ValueError, "at least 0"),
    ("verbose", "yes", TypeError, "an int"),
    ("verbose", None, TypeError, "an int"),
]


def said_to_be(value):
    """How a message quotes a value, or the one entry of it that is wrong."""
    entries = value if isinstance(value, (tuple, list)) else []
    return [repr(value), str(len(entries)), *map(repr, entries)]


@pytest.mark.parametrize(("name", "value", "error", "expected"), BAD_PARAMETERS)
def test_a_bad_parameter_is_named_with_what_was_got_and_expected(
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
    assert any(form in message for form in said_to_be(value)), message
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


def test_a_bad_parameter_leaves_a_fitted_model_alone(blobs):
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
    {"lr": np.float32(1e-3)},
    {"lr": 1},
    {"commitment_weight": 0},
    {"noise": 0},
    {"weight_decay": 0},
    {"batch_size": 1_000_000},
    {"batch_size": 7},
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
]


@pytest.mark.parametrize("parameters", GOOD_PARAMETERS, ids=str)
def test_a_parameter_may_have_any_type_that_means_it(blobs, parameters):
    estimator = quick().set_params(**parameters).fit(blobs)
    assert estimator.transform(blobs).shape == (600, 3)


# Bad rows


def changed(rows, value):
    rows = rows.copy()
    rows[5, 3] = value
    return rows


BAD_ROWS = {
    "NaN": (lambda rows: changed(rows, np.nan), "NaN"),
    "infinity": (lambda rows: changed(rows, np.inf), "infinity"),
    "1-D": (lambda rows: rows[:, 0], "1D array"),
    "3-D": (lambda rows: rows[None], "dim 3"),
    "scalar": (lambda rows: 3.0, "scalar"),
    "no rows": (lambda rows: rows[:0], "0 sample"),
    "no columns": (lambda rows: rows[:, :0], "0 feature"),
    "strings": (lambda rows: rows.astype(str), "strings|convert"),
    "words": (lambda rows: np.full(rows.shape, "word", dtype=object), "could not"),
    "complex": (lambda rows: rows + 1j, "Complex"),
    "missing": (lambda rows: changed(rows.astype(object), None), "NaN|missing"),
    "sparse": (lambda rows: sparse.csr_matrix(rows), "(?i)sparse"),
    "None": (lambda rows: None, "None|scalar"),
}


@pytest.mark.parametrize(("spoil", "says"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("call", ["fit", "partial_fit", "transform", "score"])
def test_bad_rows_are_refused_and_nothing_is_lost(blobs, fitted, spoil, says, call):
    fresh = call in ("fit", "partial_fit")
    estimator = quick() if fresh else fitted
    with pytest.raises((ValueError, TypeError), match=says):
        getattr(estimator, call)(spoil(blobs))
    assert hasattr(estimator, "net_") is not fresh
    assert hasattr(estimator, "n_features_in_") is not fresh


@pytest.mark.parametrize("call", ["transform", "score", "partial_fit"])
@pytest.mark.parametrize("width", [11, 13])
def test_rows_of_another_width_are_refused(blobs, call, width):
    estimator = quick().fit(blobs)
    rows = np.zeros((20, width))
    with pytest.raises(ValueError, match=f"{width} features.*12"):
        getattr(estimator, call)(rows)


@pytest.mark.parametrize("call", ["transform", "score", "partial_fit"])
def test_other_column_names_are_refused(blobs, call):
    frame = pd.DataFrame(blobs).add_prefix("e")
    estimator = quick().fit(frame)
    for wrong in (frame.add_prefix("x"), frame[frame.columns[::-1]]):
        with pytest.raises(ValueError, match="feature names"):
            getattr(estimator, call)(wrong)


@pytest.mark.parametrize("call", ["transform", "inverse_transform", "score"])
def test_an_unfitted_transformer_says_so(blobs, call):
    with pytest.raises(NotFittedError, match="RQVAETransformer"):
        getattr(small(), call)(blobs)
    with pytest.raises(NotFittedError):
        small().get_feature_names_out()


@pytest.mark.parametrize("value", [0.5, 2, -1])
@pytest.mark.parametrize("call", ["fit", "transform"])
def test_columns_said_to_be_binary_must_be(blobs, value, call):
    rows = blobs.copy()
    rows[:, -2:] = rows[:, -2:] > 0
    estimator = quick(n_cat_features=2)
    if call == "transform":
        estimator.fit(rows)
    rows[7, -1] = value
    with pytest.raises(ValueError, match=r"n_cat_features=2 .*row 7, column 11"):
        getattr(estimator, call)(rows)


# Bad codes

CODES = np.array([[1, 2, 3], [4, 5, 6]])


def with_code(value, dtype=float):
    codes = CODES.astype(dtype)
    codes[1, 2] = value
    return codes


BAD_CODES = {
    "negative": (with_code(-1, int), ValueError, "negative"),
    "too large": (with_code(16, int), ValueError, "below codebook_size"),
    "huge": (with_code(2**63, np.uint64), ValueError, "below codebook_size"),
    "fractional": (with_code(1.7), ValueError, "whole"),
    "NaN": (with_code(np.nan), ValueError, "finite"),
    "infinite": (with_code(np.inf), ValueError, "finite"),
    "too wide": (np.zeros((2, 4), int), ValueError, "at most n_layers=3"),
    "no column": (np.zeros((2, 0), int), ValueError, "at least one column"),
    "1-D": (np.zeros(3, int), ValueError, "2-D"),
    "3-D": (np.zeros((1, 2, 3), int), ValueError, "2-D"),
    "scalar": (3, ValueError, "2-D"),
    "strings": (CODES.astype(str), TypeError, "whole numbers"),
    "words": (np.full((2, 3), "word", object), TypeError, "whole numbers"),
    "booleans": (np.zeros((2, 3), bool), TypeError, "whole numbers"),
    "ragged": ([[1, 2], [3]], ValueError, "inhomogeneous"),
}


@pytest.mark.parametrize(
    ("codes", "error", "says"), BAD_CODES.values(), ids=BAD_CODES.keys()
)
def test_bad_codes_are_refused(fitted, codes, error, says):
    with pytest.raises(error, match=says):
        fitted.inverse_transform(codes)


def test_a_code_is_checked_against_its_own_codebook(blobs):
    estimator = quick(codebook_size=(8, 4, 2)).fit(blobs)
    estimator.inverse_transform([[7, 3, 1]])
    for codes in ([[8]], [[0, 4]], [[0, 0, 2]]):
        with pytest.raises(ValueError, match=r"below codebook_size"):
            estimator.inverse_transform(codes)


def test_the_message_about_a_code_says_where_it_is(fitted):
    with pytest.raises(ValueError, match=r"X .*row 1, column 2"):
        fitted.inverse_transform(with_code(-1, int))


# Works, with a warning where it matters


def fits(rows, **changes):
    """Fit and go there and back, with every value finite; return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = quick(**changes).fit(rows)
        codes = estimator.transform(rows)
        back = estimator.inverse_transform(codes)
        score = estimator.score(rows)
    assert np.isfinite(back).all()
    assert np.isfinite(score)
    assert back.shape == np.shape(rows)
    for codebook in estimator.codebooks_:
        assert np.isfinite(codebook).all()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 15])
@pytest.mark.parametrize(
    "mode", ["gumbel_softmax", "ste", "rotation_trick", "sinkhorn"]
)
def test_fewer_rows_than_codes_work_with_a_warning(blobs, n_rows, mode):
    (message,) = fits(blobs[:n_rows], codebook_mode=mode)
    assert f"{n_rows} different rows" in message
    assert "codebook_size" in message


def test_duplicate_rows_count_once(blobs):
    (message,) = fits(np.tile(blobs[:3], (100, 1)))
    assert "3 different rows" in message


def test_one_row_is_reconstructed(blobs):
    with pytest.warns(UserWarning, match="1 different rows"):
        estimator = quick().fit(blobs[:1])
    back = estimator.inverse_transform(estimator.transform(blobs[:1]))
    np.testing.assert_allclose(back, blobs[:1], atol=1e-5)


def test_enough_rows_give_no_warning(blobs):
    assert fits(blobs) == []


def test_a_sample_of_fewer_rows_than_codes_names_the_samples_size(blobs):
    (message,) = fits(blobs, init_sample_size=5)
    assert "init_sample_size" in message


def test_constant_columns_work(blobs):
    rows = blobs.copy()
    rows[:, 2:5] = 7
    assert fits(rows) == []
    estimator = quick().fit(rows)
    back = estimator.inverse_transform(estimator.transform(rows))
    np.testing.assert_allclose(back[:, 2:5], 7, atol=0.1)


@pytest.mark.parametrize("value", [0.0, 1e-20, -3.0, 1e15])
def test_rows_that_are_all_the_same_work_with_a_warning(value):
    (message,) = fits(np.full((50, 4), value))
    assert "1 different rows" in message


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, np.longdouble, np.int8, np.int64, np.uint64, bool]
)
def test_any_numeric_dtype_works(blobs, dtype):
    rows = (blobs > 0) if dtype is bool else (3 * np.abs(blobs)).astype(dtype)
    assert fits(rows) == []


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda rows: rows[::-1],
        lambda rows: rows[:, ::-1],
        lambda rows: np.repeat(rows, 3, axis=0)[::3],
        lambda rows: rows.tolist(),
        lambda rows: pd.DataFrame(rows),
        lambda rows: np.ma.asarray(rows),
    ],
    ids=[
        "Fortran order",
        "negative row stride",
        "negative column stride",
        "strided",
        "lists",
        "frame",
        "masked array",
    ],
)
def test_any_layout_works_and_gives_the_same_codes(blobs, layout):
    rows = layout(blobs)
    plain = np.ascontiguousarray(rows, dtype=np.float32)
    np.testing.assert_array_equal(
        quick().fit_transform(rows), quick().fit_transform(plain)
    )


def test_a_read_only_memory_map_works_and_stays_as_it_is(blobs, tmp_path):
    np.save(tmp_path / "rows.npy", blobs)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for resident_mb in ("auto", 0):
        assert fits(rows, resident_mb=resident_mb) == []
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), blobs)


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e15, 1e150, 1e300])
def test_rows_of_any_scale_work(blobs, scale):
    assert fits(scale * blobs.astype(np.float64)) == []


def test_rows_far_from_zero_work(blobs):
    assert fits(blobs.astype(np.float64) + 1e6) == []
    assert fits(blobs + np.float32(1e6)) == []


def test_one_column_works():
    assert fits(np.random.default_rng(0).normal(size=(300, 1))) == []


def test_more_columns_than_rows_work():
    assert fits(np.random.default_rng(0).normal(size=(40, 90)), embed_dim=60) == []


# A fit that fails


class Bang(Exception):
    """Something went wrong in a user's callback."""


class RaiseIn(Callback):
    """Raise `error` in `hook`, at its second call."""

    def __init__(self, hook, error):
        self.hook = hook
        self.error = error

    def initialize(self):
        self.calls_ = 0
        return self

    def _maybe_raise(self, hook):
        if hook == self.hook:
            self.calls_ += 1
            if self.calls_ == 2:
                raise self.error

    def on_epoch_begin(self, net, **kwargs):
        self._maybe_raise("on_epoch_begin")

    def on_batch_begin(self, net, **kwargs):
        self._maybe_raise("on_batch_begin")

    def on_grad_computed(self, net, **kwargs):
        self._maybe_raise("on_grad_computed")

    def on_batch_end(self, net, **kwargs):
        self._maybe_raise("on_batch_end")


HOOKS = ["on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end"]


def state_of(estimator):
    """Everything a fitted estimator is made of, as bytes and values."""
    weights = estimator.net_.module_.state_dict()
    return {
        "names": sorted(vars(estimator)),
        "net": id(estimator.net_),
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
        "codebooks": [codebook.tobytes() for codebook in estimator.codebooks_],
        "history": len(estimator.net_.history),
        "n_iter": estimator.n_iter_,
        "width": estimator.n_features_in_,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, Bang, SystemExit, MemoryError])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_fit_that_is_cut_short_leaves_an_unfitted_estimator_unfitted(
    blobs, hook, error
):
    estimator = small(callbacks=[RaiseIn(hook, error)], batch_size=200)
    before = set(vars(estimator))
    with pytest.raises(error):
        estimator.fit(blobs)
    assert set(vars(estimator)) == before
    with pytest.raises(NotFittedError):
        estimator.transform(blobs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Bang])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_fit_that_is_cut_short_leaves_a_fitted_estimator_as_it_was(
    blobs, hook, error, warm_start
):
    estimator = small(max_epochs=2, batch_size=200, warm_start=warm_start).fit(blobs)
    before, codes = state_of(estimator), estimator.transform(blobs)
    estimator.set_params(callbacks=[RaiseIn(hook, error)], lr=0.1)
    with pytest.raises(error):
        estimator.fit(blobs + 1 if warm_start else blobs[:, :5])
    assert state_of(estimator) == before
    np.testing.assert_array_equal(estimator.transform(blobs), codes)
    estimator.set_params(callbacks=None).partial_fit(blobs)
    assert estimator.n_iter_ == 3


def test_a_partial_fit_that_is_cut_short_leaves_the_estimator_as_it_was(blobs):
    estimator = small(batch_size=200).partial_fit(blobs)
    before = state_of(estimator)
    estimator.set_params(callbacks=[RaiseIn("on_batch_end", KeyboardInterrupt)])
    with pytest.raises(KeyboardInterrupt):
        estimator.partial_fit(blobs)
    assert state_of(estimator) == before


def test_an_interrupt_inside_a_step_ends_the_fit(blobs, monkeypatch):
    def interrupted(self, batch, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(RQVAENet, "train_step", interrupted)
    estimator = small()
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(blobs)
    assert not hasattr(estimator, "net_")


class CtrlC(Callback):
    """Press Ctrl-C while `hook` runs."""

    def __init__(self, hook):
        self.hook = hook

    def on_batch_end(self, net, **kwargs):
        if self.hook == "on_batch_end":
            signal.raise_signal(signal.SIGINT)

    def on_epoch_end(self, net, **kwargs):
        if self.hook == "on_epoch_end":
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_ctrl_c_is_not_swallowed_wherever_it_arrives(blobs, hook):
    estimator = small(callbacks=[CtrlC(hook)])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(blobs)
    assert not hasattr(estimator, "net_")


def test_an_interrupted_fit_puts_the_generators_back(blobs):
    torch_state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        small(callbacks=[RaiseIn("on_epoch_begin", KeyboardInterrupt)]).fit(blobs)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_early_stopping_of_skorch_ends_training_and_keeps_the_model(blobs):
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9)
    estimator = small(max_epochs=20, callbacks=[stop]).fit(blobs)
    assert estimator.n_iter_ == 3
    assert estimator.transform(blobs).shape == (600, 3)


class StopAt(Callback):
    """End training as skorch's own callbacks do, in or below `on_epoch_end`."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_a_callback_that_asks_to_stop_ends_training(blobs):
    assert small(callbacks=[StopAt(2)]).fit(blobs).n_iter_ == 2


# Training that diverges


@pytest.mark.parametrize(
    "mode", ["gumbel_softmax", "ste", "rotation_trick", "sinkhorn"]
)
@pytest.mark.parametrize("max_epochs", [1, 4])
def test_training_that_diverges_says_what_to_lower(blobs, mode, max_epochs):
    estimator = small(codebook_mode=mode, lr=1e30, max_epochs=max_epochs)
    with pytest.raises(ArithmeticError, match=r"diverged in epoch \d.*Lower lr"):
        estimator.fit(blobs)
    assert not hasattr(estimator, "net_")


def test_a_partial_fit_that_diverges_leaves_the_model_as_it_was(blobs):
    estimator = small().fit(blobs)
    before = state_of(estimator)
    with pytest.raises(ArithmeticError, match="Lower lr"):
        estimator.set_params(lr=1e30).partial_fit(blobs)
    assert state_of(estimator) == before


class NaNLoss(RQVAEModule):
    """A user's loss with a mistake in it."""

    def compute_loss(self, output):
        return {"mine": output.latents.sum() * float("nan")}


def test_a_loss_that_is_nan_is_named(blobs):
    with pytest.raises(ArithmeticError, match="mine"):
        small(module=NaNLoss).fit(blobs)


class NotADict(RQVAEModule):
    """A user's loss that returns a number instead of named parts."""

    def compute_loss(self, output):
        return output.latents.square().sum()


def test_a_loss_without_names_is_refused(blobs):
    with pytest.raises(TypeError, match="compute_loss must return a dict"):
        small(module=NotADict).fit(blobs)


def test_early_stopping_with_one_row_says_which_parameters_are_at_odds(blobs):
    estimator = small(early_stopping=True, codebook_size=1)
    with pytest.raises(ValueError, match=r"early_stopping.*validation_fraction"):
        estimator.fit(blobs[:1])


def test_going_on_with_another_architecture_names_the_parameter(blobs):
    estimator = small(warm_start=True, max_epochs=1).fit(blobs)
    for name, value in {
        "n_layers": 2,
        "codebook_size": 8,
        "embed_dim": 3,
        "hidden_dims": (16,),
        "activation": "gelu",
        "linear_path": False,
        "codebook_normalize": True,
        "codebook_sim_vq": True,
        "module": NaNLoss,
    }.items():
        changed = estimator.get_params()[name]
        with pytest.raises(ValueError, match=rf"^{name} is .*Got"):
            estimator.set_params(**{name: value}).fit(blobs)
        with pytest.raises(ValueError, match=rf"^{name} is .*Got"):
            estimator.partial_fit(blobs)
        estimator.set_params(**{name: changed})
    assert not any(isinstance(w, CollapseWarning) for w in fits(blobs))
