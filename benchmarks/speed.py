"""What the transformer costs over the matrix products that it cannot do without.

Every figure is a ratio of times taken in turns in this process, the best of several, or
a count. The rows are random: what they are does not change what a step costs. The
bare autoencoder has the papers' layers, batches of 1024, fused AdamW and no quantizer.
For example, all of it, and the counts alone::

    python benchmarks/speed.py
    python benchmarks/speed.py --counts
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from _arguments import conditions
from _autoencoder import (
    BATCH_SIZE,
    HIDDEN_DIMS,
    LATENT_DIM,
    LEARNING_RATE,
    Autoencoder,
    mlp,
)
from _contract import Matrix
from _stopwatch import CountSteps, InTurnWith, best_of_turns
from _table import markdown_table
from _vector_quantize import VectorQuantizeStack
from measured import mark_of_this_run
from sk_rqvae import QuantizeForwardMode, RQVAETransformer
from sk_rqvae._model.experts import Experts
from sk_rqvae._training.settings import multiplies_bf16
from sk_rqvae.exceptions import CollapseWarning

N_ROWS, N_FEATURES = 8192, 768
N_LAYERS, N_CODES = 3, 256
ROWS_A_BLOCK = 256
# Without the instructions, bfloat16 is slower than float32.
PRECISIONS = ("no", "bf16") if multiplies_bf16(torch.device("cpu")) else ("no",)
WAITING = ("_local_scalar_dense", "nonzero", "equal", "item")
# The papers' model: what the bare autoencoder and the rivals have no part of is off.
LIKE_FOR_LIKE: dict[str, Any] = {
    "embed_dim": LATENT_DIM,
    "hidden_dims": HIDDEN_DIMS,
    "decoder_hidden_dims": HIDDEN_DIMS[::-1],
    "batch_size": BATCH_SIZE,
    "lr": LEARNING_RATE,
    "n_beams": 1,
    "dropout": 0.0,
    "linear_path": False,
    "noise": 0.0,
    "device": "cpu",
    "mixed_precision": "no",
    "random_state": 0,
}
EXTRAS: dict[str, dict[str, Any]] = {
    "linear_path": {"linear_path": True},
    "dropout=0.2": {"dropout": 0.2},
    "noise=1": {"noise": 1},
    "gumbel_softmax": {"codebook_mode": "gumbel_softmax"},
    "rotation_trick": {"codebook_mode": "rotation_trick"},
    "sinkhorn": {"codebook_mode": "sinkhorn"},
}
ALL_ON: dict[str, Any] = {
    "linear_path": True,
    "noise": 1.0,
}
HEADER = ("what", "measured", "target")
Row = tuple[str, str, str]


def main() -> None:
    arguments = _parse()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    # Epochs here are far too few to train anything.
    warnings.simplefilter("ignore", CollapseWarning)
    X = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    rows = [*_counts(X), *_counts_of_defaults(X)]
    if not arguments.counts:
        rows = [
            *_epochs(X, arguments),
            *_rivals(X, arguments),
            *rows,
            *_transforms(X, arguments),
        ]
    print(
        f"{N_ROWS} x {N_FEATURES}, layers {HIDDEN_DIMS}, latent {LATENT_DIM}, "
        f"{N_LAYERS} x {N_CODES} codes, batch {BATCH_SIZE}; {conditions(arguments)}",
        end="\n\n",
    )
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=5, help="runs of which the best")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--counts", action="store_true", help="count operations, and time nothing"
    )
    parser.set_defaults(seeds=[0], quick=False)
    return parser.parse_args()


def _epochs(X: Matrix, arguments: argparse.Namespace) -> Iterator[Row]:
    bare = BareEpochs(X)
    timed = partial(_timed_fit, X, bare, arguments.turns)
    plain = timed()
    yield "epoch / bare epoch", f"{plain.ratio_:.2f}", "<= 1.10"
    if "bf16" in PRECISIONS:
        mixed = timed(mixed_precision="bf16")
        yield "epoch / bare float32 epoch, bf16", f"{mixed.ratio_:.2f}", "<= 0.85"
    yield "set-up / epoch", f"{plain.set_up_ / plain.epoch_:.1f}", "<= 3"
    beams = timed(n_beams=5)
    share = beams.set_up_ / beams.epoch_
    yield "set-up / epoch, 5 beams", f"{share:.1f}", "<= 3"
    for name, changes in EXTRAS.items():
        yield f"epoch / bare epoch, {name}", f"{timed(**changes).ratio_:.2f}", ""
    all_on = timed(**ALL_ON)
    yield "epoch / bare epoch, all of STE's extras", f"{all_on.ratio_:.2f}", ""


def _timed_fit(
    X: Matrix, other: Callable[[], Any], n_turns: int, **changes: Any
) -> InTurnWith:
    clock = InTurnWith(other)
    _transformer(max_epochs=n_turns, callbacks=[clock], **changes).fit(X)
    return clock


def _transformer(**changes: Any) -> RQVAETransformer:
    parameters = LIKE_FOR_LIKE | {"separate_ids": False, "rerank": False} | changes
    return RQVAETransformer(
        n_layers=N_LAYERS, codebook_size=parameters.pop("codes", N_CODES), **parameters
    )


class BareEpochs:
    """Epochs of the autoencoder without a quantizer."""

    def __init__(self, X: Matrix) -> None:
        widths = (N_FEATURES, *HIDDEN_DIMS, LATENT_DIM)
        self.model = nn.Sequential(mlp(widths), mlp(widths[::-1]))
        self.rows = torch.from_numpy(X)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, fused=True
        )

    def __call__(self) -> None:
        _epoch(self.rows, lambda x: F.mse_loss(self.model(x), x), self.optimizer)


def _epoch(
    rows: Tensor, loss: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer
) -> None:
    for index in torch.randperm(len(rows)).split(BATCH_SIZE):
        optimizer.zero_grad()
        loss(rows[index]).backward()
        optimizer.step()


def _rivals(X: Matrix, arguments: argparse.Namespace) -> Iterator[Row]:
    from semantic_id import RQVAE

    stack = VectorQuantizeStack(N_LAYERS, N_CODES, rotation_trick=False)
    model = Autoencoder(N_FEATURES, stack)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    rows = torch.from_numpy(X)
    semantic_id = RQVAE(
        in_dim=N_FEATURES,
        num_emb_list=[N_CODES] * N_LAYERS,
        e_dim=LATENT_DIM,
        layers=list(HIDDEN_DIMS),
        batch_size=BATCH_SIZE,
        epochs=1,
    )

    def fit_semantic_id() -> None:
        with redirect_stdout(StringIO()):
            semantic_id.fit(X)

    rivals: dict[str, Callable[[], Any]] = {
        "vector-quantize-pytorch": lambda: _epoch(rows, model.loss, optimizer),
        "semantic-id": fit_semantic_id,
    }
    ratios = {}
    for name, epoch in rivals.items():
        epoch()  # Codebooks start in the first.
        for precision in PRECISIONS:
            clock = _timed_fit(X, epoch, arguments.turns, mixed_precision=precision)
            ratios[name, precision] = 1 / clock.ratio_
    for (name, precision), ratio in ratios.items():
        what = f"epoch of {name} / ours, mixed_precision={precision!r}"
        yield what, f"{ratio:.2f}", ">= 1.5"


def _counts(X: Matrix) -> Iterator[Row]:
    for mode in QuantizeForwardMode:
        small, large = (
            _counted(X, codebook_mode=mode, codes=codes) for codes in (128, 512)
        )
        waits = sum(large[name] for name in WAITING)
        yield f"host synchronisations a step, {mode}", str(waits), "0"
        total = " / ".join(str(sum(counts.values())) for counts in (small, large))
        yield f"operations a step, {mode}, 128 / 512 codes", total, "<= 300"
        extras = _counted(X, codebook_mode=mode, **ALL_ON)
        yield f"operations a step, {mode}, all extras", str(sum(extras.values())), ""


def _counts_of_defaults(X: Matrix) -> Iterator[Row]:
    for name, precision in (("float32", "no"), ("bf16", "bf16")):
        count = partial(_counted_defaults, X, mixed_precision=precision)
        what = f"operations a step, defaults, {name}"
        # The first step also allocates the optimizer's state.
        totals = count()[1:]
        yield what, f"{min(totals)} to {max(totals)}", "<= 300"
        # On a CPU each expert computes its own rows, on a GPU all compute all rows.
        with patch.object(Experts, "_in_groups", Experts._by_all):
            yield f"{what}, experts as on a GPU", str(count()[-1]), "<= 300"


def _counted_defaults(X: Matrix, **changes: Any) -> list[int]:
    model = RQVAETransformer(device="cpu", random_state=0, **changes)
    return [sum(counts.values()) for counts in _counted_steps(model, X)]


def _counted(X: Matrix, **changes: Any) -> Counter[str]:
    return _counted_steps(_transformer(**changes), X[: 2 * BATCH_SIZE])[-1]


def _counted_steps(model: RQVAETransformer, X: Matrix) -> list[Counter[str]]:
    counter = CountSteps()
    model.set_params(max_epochs=1, callbacks=[counter]).fit(X)
    return counter.steps_


def _transforms(X: Matrix, arguments: argparse.Namespace) -> Iterator[Row]:
    import faiss

    greedy = _transformer(max_epochs=1).fit(X)
    products = partial(_products, greedy, torch.from_numpy(X))
    times = best_of_turns(
        {"transform": partial(greedy.transform, X), "products": products},
        arguments.turns,
    )
    ratio = times["transform"] / times["products"]
    yield "transform / its matrix products, 1 beam", f"{ratio:.2f}", "<= 1.15"

    quantizer = greedy.net_.module_.quantizer
    with torch.no_grad():
        module = greedy.net_.module_
        latents = module.encode(module.standardize(torch.from_numpy(X)))
    faiss.omp_set_num_threads(torch.get_num_threads())
    theirs = faiss.ResidualQuantizer(LATENT_DIM, N_LAYERS, N_CODES.bit_length() - 1)
    theirs.max_beam_size = 5
    theirs.train(latents.numpy())

    @torch.inference_mode()
    def search() -> None:
        prepared = quantizer.prepare_search(5)
        for block in latents.split(ROWS_A_BLOCK):
            prepared.search(block)

    runs = {
        "ours": search,
        "faiss": partial(theirs.compute_codes, latents.numpy()),
    }
    times = best_of_turns(runs, arguments.turns)
    rates = ", ".join(f"{N_ROWS / times[name]:,.0f}" for name in ("ours", "faiss"))
    ratio = times["faiss"] / times["ours"]
    what = "rows a second searched with 5 beams / faiss"
    yield f"{what} ({rates})", f"{ratio:.2f}", ">= 2"


@torch.inference_mode()
def _products(fitted: RQVAETransformer, rows: Tensor) -> None:
    """The products of matrices in a transform, and nothing else."""
    module = fitted.net_.module_
    layers = [layer for layer in module.encoder.mlp if isinstance(layer, nn.Linear)]
    codes = torch.cat(module.quantizer.codebooks())
    for block in rows.split(ROWS_A_BLOCK):
        for layer in layers:
            block = layer(block)
        block @ codes.T


if __name__ == "__main__":
    main()
