"""Time to the quality that a plainly trained RQ-VAE has when it is done.

A plain RQ-VAE like LC-Rec's trains for 60 epochs. Then our transformer, at its
defaults, is set up and trains until it explains as much variance of fitted and of
unseen rows. Both run in this process, in turn. For example::

    python benchmarks/time_to_quality.py --seeds 0 1 2
    python benchmarks/time_to_quality.py embeddings.npy
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from skorch.callbacks import Callback

from _arguments import add_data, heading, new_parser
from _contract import Matrix, Method, Task
from _data import load_matrices, sample_rows, split_rows
from _measures import Measures, measure
from _methods import LC_REC, OURS, all_methods, choose_methods
from _ours import variance_of
from _table import markdown_table
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer

WARM_UP_ROWS = 300
WARM_UP_CODES = 16
HEADER = (
    "seed",
    "plain: fitted",
    "unseen",
    "seconds",
    "ours: fitted",
    "unseen",
    "epochs",
    "seconds",
    "ours / plain",
)
CAPTION = """\
Explained variance of fitted and of unseen rows and the time it took: of the plain
RQ-VAE after its last epoch, and of our transformer as soon as it reached both: 0 epochs
are the model that training starts from. The time is from the beginning of `fit` until
then, less what the measurements took; "never" means that the last epoch was not good
enough."""


class Clock:
    """Seconds since it was made, without those of pauses."""

    def __init__(self) -> None:
        self.start = perf_counter()
        self.paused = 0.0

    def seconds(self) -> float:
        return perf_counter() - self.start - self.paused

    @contextmanager
    def pause(self) -> Iterator[None]:
        start = perf_counter()
        yield
        self.paused += perf_counter() - start


class StopWhenReached(Callback):
    """Stop after the epoch in which the model first explains enough variance.

    Parameters
    ----------
    targets : list of (ndarray, float)
        Rows, and the explained variance to reach on them.
    clock : Clock
        Pauses while the model is measured.

    Attributes
    ----------
    reached_ : bool
    variances_ : list of float
        Explained variance of the targets' rows when they were reached, or at the end.
    seconds_ : float
        When that was.
    n_epochs_ : int
        Epochs until then.
    """

    def __init__(self, targets: list[tuple[Matrix, float]], clock: Clock) -> None:
        self.targets = targets
        self.clock = clock

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.reached_ = False
        self._look(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if not self.reached_:
            self._look(net)
        if self.reached_:
            raise KeyboardInterrupt  # skorch's way to end training, after an epoch only

    def _look(self, net: Any) -> None:
        self.seconds_, self.n_epochs_ = self.clock.seconds(), len(net.history)
        with self.clock.pause():
            self.variances_ = [variance_of(net.module_, X) for X, _ in self.targets]
        self.reached_ = all(
            variance >= target
            for variance, (_, target) in zip(self.variances_, self.targets, strict=True)
        )


@dataclass(frozen=True)
class Race:
    """One split: the plain model's figures, and ours when reached, or at the end."""

    theirs: Measures
    variance: float
    unseen_variance: float
    n_epochs: int
    seconds: float
    reached: bool

    @property
    def ratio(self) -> float:
        return self.seconds / self.theirs.seconds if self.reached else float("inf")


def main() -> None:
    arguments = _parse()
    matrices = load_matrices(arguments.files, arguments.array, arguments.rows)
    for name, X in matrices.items():
        _warm_up(X, arguments)
        races = {seed: _race(X, seed, arguments) for seed in arguments.seeds}
        print(heading(name, X, arguments), end="\n\n")
        rows = [_table_row(seed, race) for seed, race in races.items()]
        print(mark_of_this_run(), end="\n\n")
        print(markdown_table(HEADER, rows), end="\n\n")
        middle = median(race.ratio for race in races.values())
        print(f"Median of ours / plain: {middle:.3f}.", end="\n\n")
    print(CAPTION)


def _parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data(parser)
    return parser.parse_args()


def _race(X: Matrix, seed: int, arguments: argparse.Namespace) -> Race:
    fitted, unseen = split_rows(X, seed)
    task = Task(arguments.layers, arguments.codes, seed, arguments.quick)
    theirs = measure(_lc_rec(), fitted, unseen, task)
    clock = Clock()
    stop = StopWhenReached(
        [(fitted, theirs.variance), (unseen, theirs.unseen_variance)], clock
    )
    RQVAETransformer(
        n_layers=task.n_layers,
        codebook_size=task.n_codes,
        callbacks=[stop],
        random_state=seed,
    ).fit(fitted)
    variance, unseen_variance = stop.variances_
    return Race(
        theirs,
        seconds=stop.seconds_,
        variance=variance,
        unseen_variance=unseen_variance,
        n_epochs=stop.n_epochs_,
        reached=stop.reached_,
    )


def _warm_up(X: Matrix, arguments: argparse.Namespace) -> None:
    """Run both once, so that neither pays for what is loaded on first use."""
    few = sample_rows(X, WARM_UP_ROWS)
    task = Task(arguments.layers, WARM_UP_CODES, seed=0, quick=True)
    for method in (_lc_rec(), *choose_methods([OURS])):
        method.fit(few, task)


def _lc_rec() -> Method:
    return next(method for method in all_methods() if method.name == LC_REC)


def _table_row(seed: int, race: Race) -> list[str]:
    theirs = race.theirs
    return [
        str(seed),
        f"{theirs.variance:.3f}",
        f"{theirs.unseen_variance:.3f}",
        f"{theirs.seconds:.1f}",
        f"{race.variance:.3f}",
        f"{race.unseen_variance:.3f}",
        str(race.n_epochs),
        f"{race.seconds:.1f}",
        f"{race.ratio:.3f}" if race.reached else "never",
    ]


if __name__ == "__main__":
    main()
