from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small
from hypothesis import given
from hypothesis import strategies as st
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)

from sk_rqvae._sklearn import progress_bars
from sk_rqvae._sklearn.callback_compat import HAS_CALLBACKS, CallbackSupportMixin
from sk_rqvae._sklearn.callback_tasks import FitTasks


class Counter(Callback):
    """Count the calls of every hook."""

    def __init__(self):
        self.counts = {}

    def _count(self, hook):
        self.counts[hook] = self.counts.get(hook, 0) + 1

    def on_train_begin(self, net, **kwargs):
        self._count("train begin")

    def on_train_end(self, net, **kwargs):
        self._count("train end")

    def on_epoch_begin(self, net, **kwargs):
        self._count("epoch begin")

    def on_epoch_end(self, net, **kwargs):
        self._count("epoch end")
        assert net.history[-1, "train_loss"] > 0

    def on_batch_begin(self, net, batch, training, **kwargs):
        self._count("batch begin")

    def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
        self._count("batch end")
        assert loss.ndim == 0

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert dict(named_parameters)
        self._count("gradients")


def test_every_hook_of_a_skorch_callback_runs(blobs):
    counter = Counter()
    small(max_epochs=3, batch_size=200, callbacks=[counter]).fit(blobs)
    assert counter.counts == {
        "train begin": 1,
        "epoch begin": 3,
        "batch begin": 9,
        "gradients": 9,
        "batch end": 9,
        "epoch end": 3,
        "train end": 1,
    }


def test_callbacks_run_in_partial_fit_too(blobs):
    counter = Counter()
    small(callbacks=[counter]).partial_fit(blobs)
    assert counter.counts["epoch end"] == 1


def explained(net, X, y=None):
    return float(1 - net.history[-1, "train_reconstruction"])


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(monitor="train_loss"),
        ("early_stopping", EarlyStopping(monitor="valid_loss")),
        ("lr_schedule", LRScheduler(policy="ExponentialLR", gamma=0.9)),
        EarlyStopping,
        GradientNormClipping(1.0),
        Freezer("decoder.*"),
        LRScheduler(policy="StepLR", step_size=2),
        EpochScoring(explained, name="explained", use_caching=False),
        ProgressBar(detect_notebook=False),
    ],
    ids=lambda callback: str(callback)[:40],
)
def test_callbacks_of_skorch_work(blobs, callback):
    options = {"early_stopping": True, "lr_schedule": "constant"}
    estimator = small(callbacks=[callback], **options).fit(blobs)
    assert estimator.transform(blobs).shape == (600, 3)
    assert estimator.net_.callbacks_ == []


@pytest.mark.parametrize(
    "callback",
    [LRScheduler(policy="StepLR", step_size=2), ("mine", LRScheduler()), LRScheduler],
    ids=["instance", "named", "class"],
)
def test_two_schedules_of_the_learning_rate_are_refused(blobs, callback):
    model = small(callbacks=[callback])
    with pytest.raises(ValueError, match=r'callbacks\[0\].*lr_schedule="constant"'):
        model.fit(blobs)


class Rates(Callback):
    """Records the learning rate of each training step."""

    def __init__(self):
        self.rates = []

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("step_every", "expected"),
    [
        ("epoch", [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]),
        ("batch", [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]),
    ],
)
def test_a_scheduler_of_skorch_decides_the_rate_if_ours_is_constant(
    blobs, step_every, expected
):
    rates = Rates()
    scheduler = LRScheduler("StepLR", step_size=1, gamma=0.1, step_every=step_every)
    constant = {"lr_schedule": "constant", "warmup_epochs": 0, "lr": 1e-3}
    small(max_epochs=3, batch_size=300, callbacks=[scheduler, rates], **constant).fit(
        blobs
    )
    np.testing.assert_allclose(rates.rates, expected)


def test_a_callback_can_end_training_before_the_first_epoch(blobs):
    class Stops(Callback):
        def on_train_begin(self, net, **kwargs):
            raise KeyboardInterrupt

    model = small(early_stopping=True, callbacks=[Stops()]).fit(blobs)
    assert model.n_iter_ == 0
    assert model.transform(blobs).shape == (600, 3)


def test_a_net_that_is_copied_while_it_trains_leaves_the_rows_behind(blobs):
    sizes = []

    class Copies(Callback):
        def on_epoch_end(self, net, **kwargs):
            sizes.append(len(pickle.dumps(net)))

    options = {"max_epochs": 1, "n_experts": 0, "early_stopping": True}
    for rows in (blobs[:100], blobs):
        small(resident_mb=0, callbacks=[Copies()], **options).fit(rows)
    assert sizes[1] < sizes[0] + blobs[100:].nbytes / 2


def test_a_score_of_a_callback_is_in_the_history(blobs, fitted):
    scoring = EpochScoring(
        explained, name="explained", use_caching=False, on_train=True
    )
    history = small(callbacks=[scoring]).fit(blobs).net_.history
    assert history[-1, "explained"] == explained(fitted.net_, None)


@pytest.mark.parametrize("resident_mb", ["auto", 0], ids=["resident", "streamed"])
def test_a_scoring_function_gets_the_codes_of_all_rows(blobs, resident_mb):
    codes = []

    def last_codes(net, rows, y=None):
        codes.append(net.predict(rows))
        return len(rows)

    scoring = EpochScoring(last_codes, on_train=True, use_caching=False)
    options = {"separate_ids": False, "resident_mb": resident_mb, "batch_size": 250}
    model = small(callbacks=[scoring], **options).fit(blobs)
    assert model.net_.history[:, "last_codes"] == [600] * 5
    np.testing.assert_array_equal(codes[-1], model.transform(blobs))


def test_the_net_of_a_transformer_says_that_it_takes_no_arrays(fitted, blobs):
    with pytest.raises(TypeError, match="Got ndarray"):
        fitted.net_.predict(blobs)


def test_gradient_clipping_reaches_the_gradients(blobs):
    norms = []

    class Watch(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            squares = [p.grad.square().sum() for _, p in named_parameters]
            norms.append(float(torch.stack(squares).sum().sqrt()))

    small(callbacks=[GradientNormClipping(1e-3), Watch()]).fit(blobs)
    assert max(norms) <= 1.001e-3


def test_a_frozen_decoder_keeps_its_initial_weights(blobs):
    initial = small(max_epochs=1, lr=1e-30, weight_decay=0).fit(blobs)
    frozen = small(callbacks=[Freezer("decoder.*")]).fit(blobs)
    mine, theirs = frozen.net_.module_, initial.net_.module_
    moved = [
        (getattr(mine, part).linear.weight - getattr(theirs, part).linear.weight)
        .abs()
        .max()
        .item()
        for part in ("decoder", "encoder")
    ]
    assert moved[0] < 1e-6
    assert moved[1] > 1e-3


def test_weights_that_a_callback_froze_are_trained_by_later_fits(blobs):
    model = small(callbacks=[Freezer("encoder*")]).fit(blobs)
    model.set_params(callbacks=None, warm_start=True)
    before = model.net_.module_.encoder.linear.weight.clone()
    assert not torch.equal(model.fit(blobs).net_.module_.encoder.linear.weight, before)


def test_what_a_module_froze_itself_stays_frozen(blobs):
    model = small(codebook_sim_vq=True, max_epochs=1).fit(blobs)
    frozen = [p.requires_grad for p in model.net_.module_.parameters()]
    model.set_params(warm_start=True).fit(blobs)
    assert [p.requires_grad for p in model.net_.module_.parameters()] == frozen


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_a_checkpoint_writes_weights_that_can_be_read(blobs, tmp_path, kind):
    options = {"monitor": None} if kind is Checkpoint else {}
    checkpoint = kind(dirname=str(tmp_path), **options)
    estimator = small(callbacks=[checkpoint]).fit(blobs)
    (file,) = tmp_path.glob("*params.pt")
    weights = torch.load(file, weights_only=True)
    # Measured after training.
    later = ("price_keys", "prices")
    for name, value in weights.items():
        if name not in later:
            assert torch.equal(value, estimator.net_.module_.state_dict()[name]), name


def test_the_callbacks_of_one_fit_are_not_kept_for_the_next(blobs):
    counter = Counter()
    estimator = small(callbacks=[counter], max_epochs=1).fit(blobs)
    estimator.set_params(callbacks=None).partial_fit(blobs)
    assert counter.counts["train end"] == 1


needs_sklearn_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has no callbacks before 1.9"
)


class Tasks:
    """A callback of scikit-learn that records its calls."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.log = []
        self.scores = []

    def setup(self, estimator, context):
        self.log.append("setup")

    def teardown(self, estimator, context):
        self.log.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.log.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.log.append(f"end {context.task_name}")
        if fitted_estimator is not None and context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
        return len(self.scores) == self.stop_after


@needs_sklearn_callbacks
def test_scikit_learns_callbacks_are_called_for_every_stage_and_epoch(blobs):
    tasks = Tasks()
    small(max_epochs=2).set_callbacks(tasks).fit(blobs)
    epoch = ["begin epoch", "end epoch"]
    training = ["begin training", *epoch, *epoch, "end training"]
    step = ["begin step", "end step"]
    set_up = ["begin set-up", *4 * step, "end set-up"]
    separation = ["begin separation", *2 * step, "end separation"]
    fit = ["begin fit", *set_up, *training, *separation, "end fit"]
    assert tasks.log == ["setup", *fit, "teardown"]


@needs_sklearn_callbacks
def test_a_warm_start_has_no_set_up_stage(blobs):
    tasks = Tasks()
    model = small(max_epochs=1, separate_ids=False, warm_start=True).fit(blobs)
    model.set_callbacks(tasks).fit(blobs)
    epoch = ["begin epoch", "end epoch"]
    fit = ["begin fit", "begin training", *epoch, "end training", "end fit"]
    assert tasks.log == ["setup", *fit, "teardown"]


@needs_sklearn_callbacks
@given(
    shares=st.lists(st.floats(0, 3), max_size=30),
    total=st.floats(0.5, 1000),
)
def test_every_step_of_a_stage_ends_whatever_progress_was_reported(shares, total):
    class Watched(CallbackSupportMixin):
        pass

    tasks = Tasks()
    watched = Watched().set_callbacks(tasks)
    context = watched._init_callback_context(max_subtasks=1)
    fit = FitTasks(watched, context, {"X": None, "y": None}, set_fitted_attributes=None)
    with fit.steps("stage", total) as advance:
        for share in shares:
            advance(share)
    begun = tasks.log.count("begin step")
    assert begun == tasks.log.count("end step")
    assert begun >= 1
    assert tasks.log[-1] == "end stage"


@needs_sklearn_callbacks
def test_scikit_learns_callbacks_get_the_estimator_of_the_current_epoch(blobs):
    tasks = Tasks()
    estimator = small(max_epochs=2, lr=1e-30, separate_ids=False)
    estimator.set_callbacks(tasks).fit(blobs)
    assert tasks.scores == pytest.approx([estimator.score(blobs)] * 2, abs=2e-3)


@needs_sklearn_callbacks
def test_scoring_the_estimator_during_fit_does_not_change_the_fit(blobs, fitted):
    watched = small().set_callbacks(Tasks()).fit(blobs)
    assert_same_model(watched, fitted)


class EndsOfEpochs(Callback):
    """Counts the epochs that end."""

    n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


@needs_sklearn_callbacks
def test_other_callbacks_see_the_epoch_after_which_training_stops(blobs):
    seen = EndsOfEpochs()
    estimator = small(max_epochs=20, callbacks=[("seen", seen)])
    estimator.set_callbacks(Tasks(stop_after=3)).fit(blobs)
    assert estimator.n_iter_ == 3
    assert seen.n_epochs == 3


@needs_sklearn_callbacks
def test_a_callback_of_scikit_learn_can_stop_training(blobs):
    estimator = small(max_epochs=20).set_callbacks(Tasks(stop_after=3)).fit(blobs)
    assert estimator.n_iter_ == 3


@needs_sklearn_callbacks
def test_after_a_failed_fit_scikit_learns_callbacks_are_torn_down(blobs):
    class Fails(Callback):
        def on_epoch_begin(self, net, **kwargs):
            raise RuntimeError("no")

    tasks = Tasks()
    estimator = small(callbacks=[Fails()]).set_callbacks(tasks)
    before = set(estimator.__getstate__())
    with pytest.raises(RuntimeError, match="no"):
        estimator.fit(blobs)
    assert tasks.log[-1] == "teardown"
    assert set(estimator.__getstate__()) == before


@needs_sklearn_callbacks
def test_the_progress_bar_of_scikit_learn_shows_the_stages(blobs, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar as SklearnProgressBar

    small(max_epochs=2).set_callbacks(SklearnProgressBar()).fit(blobs)
    out = capsys.readouterr().out
    for part in ("fit", "set-up", "training", "separation"):
        (line,) = [line for line in out.splitlines() if f" - {part}" in line]
        assert "RQVAETransformer" in line
        assert "100%" in line


@needs_sklearn_callbacks
def test_where_scikit_learns_callbacks_are_set_no_bars_are_drawn(blobs, monkeypatch):
    class Silent(Tasks):
        def on_fit_task_end(self, estimator, context):
            pass

    monkeypatch.setattr(progress_bars, "_has_terminal", lambda: pytest.fail("asked"))
    small(max_epochs=1, verbose=1).set_callbacks(Silent()).fit(blobs)
