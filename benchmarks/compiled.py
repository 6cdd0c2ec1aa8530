"""What torch.compile would gain in training, and what compiling takes.

Several copies of one model train in turns in this process: one as it is, one whose
encoder and decoder are compiled, one whose whole forward pass and loss are. An epoch is
the best of several turns; "compiling" is what the first epoch takes longer than it, as
a multiple of an epoch of the model as it is. For example::

    python benchmarks/compiled.py
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.compiler.config
from torch import Tensor

from _arguments import conditions, new_parser
from _autoencoder import BATCH_SIZE, HIDDEN_DIMS
from _stopwatch import seconds
from _table import NOTHING, markdown_table
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae.exceptions import CollapseWarning

N_ROWS, N_FEATURES = 8192, 768
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "nothing beside the quantizer": {
        "embed_dim": 32,
        "dropout": 0.0,
        "linear_path": False,
        "noise": 0.0,
        "mixed_precision": "no",
    },
    "defaults, the papers' layers": {"mixed_precision": "no"},
    "defaults, the papers' layers, bf16": {"mixed_precision": "bf16"},
}
HEADER = (
    "parameters",
    "compiled",
    "epoch / epoch as it is",
    "compiling / epoch as it is",
    "epochs to pay back",
)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="runs of which the best")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # What an earlier run compiled would make the first epoch short.
    torch.compiler.config.force_disable_caches = True
    # One epoch of random rows trains nothing.
    warnings.simplefilter("ignore", CollapseWarning)
    n_rows = 2 * BATCH_SIZE if arguments.quick else N_ROWS
    X = np.random.default_rng(0).normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    rows = [
        row
        for name, parameters in CONFIGURATIONS.items()
        for row in _compared(name, parameters, X, arguments)
    ]
    print(
        f"{n_rows} x {N_FEATURES}, layers {HIDDEN_DIMS}, 3 x 256 codes, "
        f"batch {BATCH_SIZE}; {conditions(arguments)}",
        end="\n\n",
    )
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows))


def _compared(
    name: str, parameters: dict[str, Any], X: np.ndarray, arguments: argparse.Namespace
) -> Iterator[tuple[str, ...]]:
    ways: dict[str, Callable[[Any], None]] = {
        "nothing": lambda module: None,
        "encoder and decoder": _compile_coders,
        "forward pass and loss": _compile_all,
    }
    epochs = {}
    torch.compiler.reset()
    for way, compile_parts in ways.items():
        net = _net(X, parameters)
        compile_parts(net.module_)
        epochs[way] = Epochs(net, torch.from_numpy(X))
    first = {way: seconds(epoch) for way, epoch in epochs.items()}
    turns = [
        {way: seconds(epoch) for way, epoch in epochs.items()}
        for _ in range(1 if arguments.quick else arguments.turns)
    ]
    best = {way: min(turn[way] for turn in turns) for way in ways}
    plain = best["nothing"]
    yield name, "nothing", "1.00", NOTHING, NOTHING
    for way in list(ways)[1:]:
        share = best[way] / plain
        compiling = (first[way] - best[way]) / plain
        pays = str(math.ceil(compiling / (1 - share))) if share < 1 else "never"
        yield name, way, f"{share:.2f}", f"{compiling:.0f}", pays


def _net(X: np.ndarray, parameters: dict[str, Any]) -> Any:
    transformer = RQVAETransformer(
        hidden_dims=HIDDEN_DIMS,
        batch_size=BATCH_SIZE,
        max_epochs=1,
        separate_ids=False,
        device="cpu",
        random_state=0,
        **parameters,
    )
    return transformer.fit(X).net_


def _compile_coders(module: Any) -> None:
    module.encoder.compile()
    module.decoder.compile()


def _compile_all(module: Any) -> None:
    module.compile()
    module.compute_loss = torch.compile(module.compute_loss)


class Epochs:
    """Epochs of training steps, and nothing between them."""

    def __init__(self, net: Any, rows: Tensor) -> None:
        self.net = net
        self.rows = rows
        net.module_.train()

    def __call__(self) -> None:
        for index in torch.randperm(len(self.rows)).split(BATCH_SIZE):
            self.net.train_step(self.rows.index_select(0, index))


if __name__ == "__main__":
    main()
