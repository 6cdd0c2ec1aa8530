from __future__ import annotations

import contextlib
import copy
import signal
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from conftest import small
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping

import sk_rqvae
from sk_rqvae import RQVAEModule
from sk_rqvae._training.net import RQVAENet

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


def names_of(estimator):
    """The attributes of an estimator that are part of its state."""
    return sorted(estimator.__getstate__())


def state_of(estimator):
    """All parts of a fitted estimator, as bytes and values."""
    weights = estimator.net_.module_.state_dict()
    return {
        "names": names_of(estimator),
        "net": id(estimator.net_),
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
        "codebooks": [codebook.tobytes() for codebook in estimator.codebooks_],
        "history": len(estimator.net_.history),
        "n_iter": estimator.n_iter_,
        "width": estimator.n_features_in_,
    }


@pytest.mark.parametrize("error", [Bang, SystemExit, MemoryError])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_failed_fit_leaves_an_unfitted_estimator_unfitted(blobs, hook, error):
    estimator = small(callbacks=[RaiseIn(hook, error)], batch_size=200)
    before = names_of(estimator)
    with pytest.raises(error):
        estimator.fit(blobs)
    assert names_of(estimator) == before
    with pytest.raises(NotFittedError):
        estimator.transform(blobs)


@pytest.fixture(scope="module")
def in_two_epochs(blobs):
    return small(max_epochs=2, batch_size=200).fit(blobs)


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_failed_fit_does_not_change_a_fitted_estimator(
    blobs, in_two_epochs, hook, warm_start
):
    estimator = copy.deepcopy(in_two_epochs).set_params(warm_start=warm_start)
    before, codes = state_of(estimator), estimator.transform(blobs)
    estimator.set_params(callbacks=[RaiseIn(hook, Bang)], lr=0.1)
    with pytest.raises(Bang):
        estimator.fit(blobs + 1 if warm_start else blobs[:, :5])
    assert state_of(estimator) == before
    np.testing.assert_array_equal(estimator.transform(blobs), codes)
    estimator.set_params(callbacks=None).partial_fit(blobs)
    assert estimator.n_iter_ == 3


def test_a_failed_partial_fit_does_not_change_the_estimator(blobs):
    estimator = small(batch_size=200).partial_fit(blobs)
    before = state_of(estimator)
    estimator.set_params(callbacks=[RaiseIn("on_batch_end", Bang)])
    with pytest.raises(Bang):
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


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_that_raises_keyboard_interrupt_ends_training_and_keeps_the_model(
    blobs, hook
):
    """This is how the callbacks of skorch stop training."""
    estimator = small(callbacks=[RaiseIn(hook, KeyboardInterrupt)], batch_size=200)
    estimator.fit(blobs)
    assert 1 <= estimator.n_iter_ <= 2
    assert estimator.transform(blobs).shape == (600, 3)


class RaiseInOnceCalled(Callback):
    """Raise KeyboardInterrupt in a hook that is called once."""

    def __init__(self, hook):
        self.hook = hook

    def on_train_begin(self, net, **kwargs):
        if self.hook == "on_train_begin":
            raise KeyboardInterrupt

    def on_train_end(self, net, **kwargs):
        if self.hook == "on_train_end":
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("hook", "n_epochs"), [("on_train_begin", 0), ("on_train_end", 5)]
)
def test_a_callback_that_stops_training_before_or_after_the_epochs_keeps_the_model(
    blobs, hook, n_epochs
):
    estimator = small(callbacks=[RaiseInOnceCalled(hook)]).fit(blobs)
    assert estimator.n_iter_ == n_epochs
    assert estimator.transform(blobs).shape == (600, 3)


class PressesCtrlC(RQVAEModule):
    def compute_loss(self, output):
        signal.raise_signal(signal.SIGINT)
        return super().compute_loss(output)


def test_ctrl_c_during_a_step_ends_fit_with_a_keyboard_interrupt(blobs):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    estimator = small(module=PressesCtrlC)
    try:
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(blobs)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not hasattr(estimator, "net_")


class InterruptedCall:
    """Raise KeyboardInterrupt at the `at`-th call of a function of the package."""

    def __init__(self, at):
        self.at = at
        self.n_calls = 0

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)

    def __call__(self, frame, event, arg):
        code = frame.f_code
        # Python ignores errors in a generator expression that `any` does not exhaust.
        # PyTorch calls a function mode while it switches gradients on or off, and an
        # error there would leave them switched.
        ignored = code.co_name in ("<genexpr>", "__torch_function__")
        if event == "call" and PACKAGE in code.co_filename and not ignored:
            self.n_calls += 1
            if self.n_calls == self.at:
                raise KeyboardInterrupt


PACKAGE = str(Path(sk_rqvae.__file__).parent)
N_POINTS = 20


def is_consistent(estimator):
    """Whether all fitted attributes belong to one model."""
    levels = estimator.net_.module_.quantizer.levels
    for level, codebook in zip(levels, estimator.codebooks_, strict=True):
        np.testing.assert_array_equal(level.codes().detach().numpy(), codebook)
    return estimator.n_iter_ == len(estimator.net_.history)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fit", "warm fit", "partial_fit"])
def test_ctrl_c_in_any_function_leaves_the_old_model_or_the_new(blobs, call):
    rows = blobs[:200]
    options = {"codebook_size": 4, "max_epochs": 1, "warm_start": call == "warm fit"}
    method = call.removeprefix("warm ")

    def again(estimator):
        return getattr(estimator, method)(rows + 1)

    fitted = small(**options).fit(rows)
    codes = fitted.transform(rows)
    with InterruptedCall(at=0) as counted:
        again(copy.deepcopy(fitted))
    for at in np.linspace(1, counted.n_calls, N_POINTS, dtype=int).tolist():
        estimator = copy.deepcopy(fitted)
        old = state_of(estimator)
        # An interrupt inside a callback only ends training.
        with contextlib.suppress(KeyboardInterrupt), InterruptedCall(at):
            again(estimator)
        if state_of(estimator) == old:
            np.testing.assert_array_equal(estimator.transform(rows), codes)
        else:
            assert is_consistent(estimator)
        unfitted = small(**options)
        with contextlib.suppress(KeyboardInterrupt), InterruptedCall(at):
            again(unfitted)
        assert not hasattr(unfitted, "net_") or is_consistent(unfitted)
        assert hasattr(unfitted, "n_features_in_") is hasattr(unfitted, "net_")


def test_early_stopping_of_skorch_ends_training_and_keeps_the_model(blobs):
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9)
    estimator = small(max_epochs=20, callbacks=[stop]).fit(blobs)
    assert estimator.n_iter_ == 3
    assert estimator.transform(blobs).shape == (600, 3)


class StopAt(Callback):
    """End training at the end of an epoch, as callbacks of skorch do."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_training_ends_in_the_epoch_in_which_a_callback_asks_for_it(blobs):
    assert small(callbacks=[StopAt(2)]).fit(blobs).n_iter_ == 2


# Training that diverges


@pytest.mark.parametrize(
    "mode", ["gumbel_softmax", "ste", "rotation_trick", "sinkhorn"]
)
@pytest.mark.parametrize("max_epochs", [1, 4])
def test_the_error_of_a_diverged_training_says_to_lower_the_learning_rate(
    blobs, mode, max_epochs
):
    # One step per epoch: in a fit of one epoch, no loss is computed after the step.
    estimator = small(
        codebook_mode=mode, lr=1e30, max_epochs=max_epochs, batch_size=600
    )
    with pytest.raises(ArithmeticError, match=r"diverged in epoch \d.*Lower lr"):
        estimator.fit(blobs)
    assert not hasattr(estimator, "net_")


def test_a_partial_fit_that_diverges_does_not_change_the_model(blobs, fitted):
    estimator = copy.deepcopy(fitted)
    before = state_of(estimator)
    with pytest.raises(ArithmeticError, match="Lower lr"):
        estimator.set_params(lr=1e30).partial_fit(blobs)
    assert state_of(estimator) == before


class NaNLoss(RQVAEModule):
    """A loss that is not finite."""

    def compute_loss(self, output):
        return {"mine": output.latents.sum() * float("nan")}


def test_the_error_names_the_term_of_the_loss_that_is_nan(blobs):
    with pytest.raises(ArithmeticError, match=r"mine.*Or correct compute_loss of NaN"):
        small(module=NaNLoss).fit(blobs)


def test_the_error_of_a_usual_loss_advises_no_correction_of_it(blobs):
    with pytest.raises(ArithmeticError, match=r"raise warmup_epochs\.$"):
        small(lr=1e30).fit(blobs)


class NotADict(RQVAEModule):
    """A loss that returns a number instead of named terms."""

    def compute_loss(self, output):
        return output.latents.square().sum()


def test_a_loss_that_is_not_a_dict_is_refused(blobs):
    with pytest.raises(TypeError, match="compute_loss must return a dict"):
        small(module=NotADict).fit(blobs)


class OneTerm(RQVAEModule):
    """A loss of the one term that a test chooses."""

    terms: ClassVar[dict] = {}

    def compute_loss(self, output):
        return {name: term(output) for name, term in self.terms.items()}


class OtherTerms(RQVAEModule):
    """A loss that has another name from the second batch on."""

    def compute_loss(self, output):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        name = "first" if self.n_calls == 1 else "second"
        return {name: output.latents.square().sum()}


def test_a_loss_whose_terms_change_within_an_epoch_is_refused(blobs):
    with pytest.raises(TypeError, match=r"Got \['second'\] after \['first'\]"):
        small(module=OtherTerms, batch_size=100).fit(blobs)


def test_a_term_cannot_take_the_name_of_the_sum_of_all_terms(blobs):
    length = {"loss": lambda output: output.latents.square().mean()}
    alone = type("Alone", (OneTerm,), {"terms": length})
    row = small(module=alone, max_epochs=1).fit(blobs).net_.history[-1]
    assert row["train_loss"] > 0
    among = type("Among", (OneTerm,), {"terms": length | {"mine": length["loss"]}})
    with pytest.raises(ValueError, match="must not call one of several terms 'loss'"):
        small(module=among, max_epochs=1).fit(blobs)


@pytest.mark.parametrize(
    ("terms", "got"),
    [
        ({}, "no term"),
        ({"mine": lambda output: output.latents.square()}, "mine of shape"),
        ({"mine": lambda output: 1.0}, "mine, a float"),
    ],
)
def test_terms_of_the_loss_that_are_no_scalar_tensors_are_refused(blobs, terms, got):
    module = type("Mine", (OneTerm,), {"terms": terms})
    with pytest.raises(TypeError, match=f"compute_loss must return .* Got {got}"):
        small(module=module).fit(blobs)


def test_the_error_of_early_stopping_with_one_row_names_its_parameters(blobs):
    estimator = small(early_stopping=True, codebook_size=1)
    with pytest.raises(ValueError, match=r"early_stopping.*validation_fraction"):
        estimator.fit(blobs[:1])
