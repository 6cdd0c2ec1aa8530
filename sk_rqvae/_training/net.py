"""Training under skorch, without waiting for the device inside an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import reduce
from typing import Any, NoReturn

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from sk_rqvae._model.assignment import PreparedAssignment
from sk_rqvae._model.codebook import level_offsets
from sk_rqvae._model.module import RQVAEModule
from sk_rqvae._model.private_generator import PrivateGenerator
from sk_rqvae._training.batches import Batches, ResidentRows, Rows, StreamedRows
from sk_rqvae._training.callbacks import EpochTable
from sk_rqvae._training.code_usage import usage_and_perplexity
from sk_rqvae._training.dead_codes import (
    dead_codes_after_epoch,
    restart_dead_codes,
    worth_replacing,
)
from sk_rqvae._training.module_tensors import join_tensors, split_tensors
from sk_rqvae._training.present_device import present_device
from sk_rqvae._training.replayed_steps import N_ORDINARY_STEPS, ReplayedSteps
from sk_rqvae._training.seeds import Generators
from sk_rqvae._training.streams_for_graphs import stream_for_graphs
from sk_rqvae.exceptions import DivergenceError

_EMPTY = "empty_module"
_EXPECTED_TERMS = "compute_loss must return a dict of names and scalar tensors."
# Rows to choose from for each code that is replaced, so that few codes get the same
# row, and a bound of memory.
_ROWS_PER_DEAD_CODE = 16
_MAX_RESTART_SAMPLE = 8192


class StopTraining(Exception):
    """A callback asked for the end of training."""


class SumOfTerms(nn.Module):
    """The criterion: the terms of the loss, added up."""

    def forward(self, terms: dict[str, Tensor]) -> Tensor:
        """Add the values of `terms`."""
        if not isinstance(terms, dict):
            raise TypeError(f"{_EXPECTED_TERMS} Got {type(terms).__name__}.")
        if not terms:
            raise TypeError(f"{_EXPECTED_TERMS} Got no term.")
        if "loss" in terms and len(terms) > 1:
            raise ValueError(
                "compute_loss must not call one of several terms 'loss': train_loss is "
                f"the sum of all of them. Got {list(terms)}."
            )
        for name, term in terms.items():
            if not isinstance(term, Tensor):
                found = f"{name}, a {type(term).__name__}"
                raise TypeError(f"{_EXPECTED_TERMS} Got {found}.")
            if term.ndim:
                found = f"{name} of shape {tuple(term.shape)}"
                raise TypeError(f"{_EXPECTED_TERMS} Got {found}.")
        return reduce(torch.add, terms.values())


class EpochTotals:
    """Sums over an epoch that stay on the device until the epoch is over.

    Parameters
    ----------
    sizes : sequence of int
        Codes of each level.
    device : torch.device
    """

    def __init__(self, sizes: list[int], device: torch.device) -> None:
        self.sizes = sizes
        self.offsets = level_offsets(sizes, device)
        self.counts = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
        self.terms: Tensor | None = None
        self.names: list[str] = []
        self.n_rows = 0

    @torch.no_grad()
    def add(self, terms: dict[str, Tensor], codes: Tensor) -> None:
        """Add the terms of a batch's loss and its codes."""
        names = self.names or list(terms)
        if set(terms) != set(names):
            raise TypeError(
                "compute_loss must return the same terms for all batches of an epoch. "
                f"Got {list(terms)} after {names}."
            )
        values = torch.stack([terms[name] for name in names])
        if self.terms is None:
            self.names = names
            self.terms = torch.zeros_like(values)
        self.terms.add_(values, alpha=len(codes))
        positions = (codes + self.offsets).flatten()
        self.counts.index_add_(0, positions, torch.ones_like(positions))
        self.n_rows += len(codes)

    def means(self) -> dict[str, float]:
        """Mean of each term over the epoch's rows; waits for the device."""
        if self.terms is None:
            return {}
        means = (self.terms / self.n_rows).tolist()
        return dict(zip(self.names, means, strict=True))


class RQVAENet(NeuralNet):
    """A `skorch.NeuralNet` around a `RQVAEModule`.

    It differs from its base:

    1. Losses are read once per epoch, because reading them waits for the device.
    2. Rows of the history also describe the use of codes.
    3. A KeyboardInterrupt ends training gracefully only if a callback raised it, as
       skorch documents. Anywhere else it is raised.

    Attributes
    ----------
    restart_dead_codes : bool
        Replace unused codes after each epoch.
    n_fitted : int or None
        Rows that all epochs see, or None if each epoch sees other rows. It limits how
        many unused codes are replaced.
    generators_ : Generators or None
        Draw every random number of a training; None is torch's global generator.
    replays_steps_ : bool
        Record a step as a CUDA graph and replay it, see `ReplayedSteps`.
    """

    module_: Any
    restart_dead_codes = True
    n_fitted: int | None = None
    generators_: Generators | None = None
    replays_steps_ = False
    _replayed: ReplayedSteps | None = None
    _n_epochs_before = 0  # those of earlier trainings

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("print_log", EpochTable(self.verbose)),
        ]

    def train_step(self, batch: Tensor, **fit_params: Any) -> dict[str, Any]:
        """One step of the optimizer on one batch."""
        self.optimizer_.zero_grad(set_to_none=True)
        with self._own_random_numbers():
            output = self.module_(batch)
            parts = self.module_.compute_loss(output)
            loss = self.criterion_(parts)
            loss.backward()
        self.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        self.optimizer_.step()
        return {"loss": loss, "y_pred": output, "parts": parts, "codes": output.codes}

    def validation_step(
        self,
        batch: Tensor,
        prepared: PreparedAssignment | None = None,
        **fit_params: Any,
    ) -> dict[str, Any]:
        """The reconstruction loss of a batch as `transform` would encode it."""
        module = self.module_
        with torch.no_grad():
            codes = module.assign(batch, prepared)
            reconstruction = module.reconstruct(codes)
            loss = module.reconstruction_loss(batch, reconstruction)
        return {
            "loss": loss,
            "y_pred": reconstruction,
            "parts": {"loss": loss},
            "codes": codes,
        }

    def get_dataset(self, X: Any, y: Any = None) -> Rows:
        """`X` itself, which has to be rows of a training.

        Raises
        ------
        TypeError
            If it is anything else, such as an array that a user passes to ``net_``.
        """
        if not isinstance(X, ResidentRows | StreamedRows):
            raise TypeError(
                "net_ takes the rows that a training gives to its callbacks. Got "
                f"{type(X).__name__}. Call the methods of the transformer instead."
            )
        return X

    def evaluation_step(self, batch: Tensor, training: bool = False) -> Tensor:
        """Codes of a batch as `transform` would choose them before IDs have prices.

        With it, ``net.predict`` gives the codes of all rows that a scoring function of
        `skorch.callbacks.EpochScoring` receives.
        """
        self.check_is_fitted()
        self._set_training(training)
        with torch.no_grad():
            codes: Tensor = self.module_.assign(batch)
        return codes

    def run_single_epoch(
        self,
        iterator: Batches | None,
        training: bool,
        prefix: str,
        step_fn: Any,
        **fit_params: Any,
    ) -> None:
        """Run all batches, then read the sums and record them."""
        if iterator is None:
            return
        self.module_.train(training)
        if not training:
            with torch.no_grad():
                fit_params["prepared"] = self.module_.prepare()
        sizes = list(self.module_.quantizer.sizes)
        totals = EpochTotals(sizes, self._module_device())
        lr = None
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            lr = self.optimizer_.param_groups[0]["lr"]
            if training and self._replayed is not None:
                step = self._replayed(batch)
            else:
                step = step_fn(batch, **fit_params)
            totals.add(step["parts"], step["codes"])
            self.notify("on_batch_end", batch=batch, training=training, **step)
        self.module_.eval()  # what callbacks see after an epoch is the model in use
        if training:
            self._record_training(totals, iterator)
            self.history.record("lr", lr)
        else:
            self._record_held_out(totals.means()["loss"])

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> RQVAENet:
        """Train `max_epochs` more epochs on the dataset `X`."""
        if not self.initialized_:  # a clone of a net is not
            self.initialize()
        self.module_.draw_from(self._generator())
        self._n_epochs_before = len(self.history)
        try:
            self.notify("on_train_begin", X=X, y=y)
            with self._replaying(len(X)):
                self.fit_loop(X, y, **fit_params)
        except StopTraining:
            pass
        finally:
            self.module_.eval()
            self.module_.draw_from(None)
        with suppress(StopTraining):
            self.notify("on_train_end", X=X, y=y)
        return self

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the hooks. One that raises KeyboardInterrupt asks to end training.

        A Ctrl-C that arrives while a hook runs cannot be distinguished from that, and
        ends training in the same way.
        """
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as interrupt:
            raise StopTraining from interrupt

    def check_finite(self, batch: Tensor) -> None:
        """Encode and decode `batch`: no loss was computed after the last step.

        Raises
        ------
        DivergenceError
            If latents are too far from all codes, or a reconstruction is not finite.
        """
        with torch.no_grad():
            beams = self.module_.quantizer.search(self.module_.encode(batch))
            reconstruction = self.module_.reconstruct(beams.codes[:, 0])
        if not (beams.errors.isfinite().all() and reconstruction.isfinite().all()):
            self.report_divergence("the last step left weights that are not finite")

    def report_divergence(self, what: str) -> NoReturn:
        """Raise a DivergenceError that says what to lower."""
        # After one bad step all terms are NaN, so the terms do not say which one was.
        is_changed = self.module.compute_loss is not RQVAEModule.compute_loss
        name = self.module.__name__
        own = f" Or correct compute_loss of {name}." if is_changed else ""
        raise DivergenceError(
            f"Training diverged in epoch {len(self.history)}: {what}. Lower lr (at "
            f"most {self.lr:.2g} here), or raise warmup_epochs.{own}"
        )

    def drop_training_state(self) -> None:
        """Leave out what only a running training needs; the optimizer is kept."""
        self.__dict__.update(
            callbacks=None,
            callbacks_=[],
            generators_=None,
            train_split=None,
            replays_steps_=False,
            _replayed=None,
            _n_epochs_before=0,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only training needs.

        skorch pickles the module apart, by reference to its class. A worker process
        cannot find a class that was defined in a script or a notebook, so here the
        module without its tensors is left to whoever pickles the net: joblib's pickler
        copies such classes.
        """
        light = object.__new__(type(self))
        light.__dict__.update(vars(self), optimizer_=None)
        light.drop_training_state()
        if self.initialized_:
            light.module_, empty_module = split_tensors(self.module_)
            return super(RQVAENet, light).__getstate__() | {_EMPTY: empty_module}
        return super(RQVAENet, light).__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Undo `__getstate__`; tensors of a missing device are put on another."""
        empty_module = state.pop(_EMPTY, None)
        state["device"] = present_device(
            state["device"],
            to_train_there="Call set_params(device={}) to also train there",
            stacklevel=2,
        )
        super().__setstate__(state)
        if empty_module is not None:
            self.module_ = join_tensors(self.module_, empty_module)

    def _generator(self) -> torch.Generator | None:
        return None if self.generators_ is None else self.generators_.device

    def _own_random_numbers(self) -> AbstractContextManager[Any]:
        """Let a user's module, too, draw from the generators of the training.

        Ours is given a generator to draw from, which is faster.
        """
        if type(self.module_) is RQVAEModule or self.generators_ is None:
            return nullcontext()
        seed = self.generators_.cpu.initial_seed()
        return PrivateGenerator(seed, self.generators_)

    @contextmanager
    def _replaying(self, n_rows: int) -> Iterator[None]:
        """Replay the steps of what follows, if `replays_steps_` and if they suffice."""
        batch_size = min(self.batch_size, n_rows)
        n_steps = self.max_epochs * (n_rows // batch_size)
        if not self.replays_steps_ or n_steps <= N_ORDINARY_STEPS:
            yield
            return
        with stream_for_graphs(self._module_device()):
            self._replayed = ReplayedSteps(
                self.train_step,
                self.module_,
                self.optimizer_,
                self._generator(),
                batch_size,
            )
            try:
                yield
            finally:
                self._replayed = None
                # They are in the memory of the graph.
                self.optimizer_.zero_grad(set_to_none=True)

    def _module_device(self) -> torch.device:
        return self.module_.input_mean.device

    def _record_training(self, totals: EpochTotals, iterator: Batches) -> None:
        means = totals.means()
        loss = math.fsum(means.values())
        if not math.isfinite(loss):
            self.report_divergence(f"the loss is {loss}, its terms {means}")
        self.history.record("train_loss", loss)
        for name, mean in means.items():
            self.history.record(f"train_{name}", mean)
        usage, perplexity = usage_and_perplexity(totals.counts, totals.sizes)
        self.history.record("usage", usage)
        self.history.record("perplexity", perplexity)
        self.history.record("restarts", self._restart(totals, iterator))

    def _record_held_out(self, loss: float) -> None:
        rows = self.history[self._n_epochs_before :]
        earlier = [row["valid_loss"] for row in rows if "valid_loss" in row]
        self.history.record("valid_loss", loss)
        # skorch's `Checkpoint` looks at it.
        self.history.record("valid_loss_best", loss < min(earlier, default=math.inf))

    def _restart(self, totals: EpochTotals, iterator: Batches) -> list[int]:
        quantizer = self.module_.quantizer
        dead = dead_codes_after_epoch(quantizer, totals.counts, totals.n_rows)
        if self.n_fitted is not None:
            dead = worth_replacing(dead, totals.sizes, self.n_fitted)
        n_dead = int(dead.sum())
        if not (self.restart_dead_codes and n_dead):
            return [0] * len(totals.sizes)
        n_rows = min(_ROWS_PER_DEAD_CODE * n_dead, _MAX_RESTART_SAMPLE)
        with torch.no_grad():
            latents = self.module_.encode(iterator.dataset.sample(n_rows))
        return restart_dead_codes(quantizer, dead, latents, self._generator())
