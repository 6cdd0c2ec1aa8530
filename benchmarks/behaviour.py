"""Which way to let IDs follow behaviour? `affinity`, and views beside the text.

Reads a data set as ``benchmarks/generative.py --prepare`` writes it::

    python benchmarks/behaviour.py benchmarks/.cache/prepared/ml-1m.npz

A tenth of the items is new: nothing is known of them but their text. Affinity and views
are made of the first four fifths of each history, without new items. Figures are of the
last fifth: `affinity_lift` among known items, and between new and known ones. The last
two columns are the explained variance of the text, of known and of new items.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from _arguments import conditions, new_parser
from _contract import Codes, Matrix
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run
from sk_rqvae import BlockScaler, RQVAETransformer
from sk_rqvae._initialization.behaviour_vectors import behaviour_vectors
from sk_rqvae.interactions import cooccurrence
from sk_rqvae.metrics import affinity_lift, explained_variance

NEW_SHARE = 0.1
TRAIN_SHARE = 0.8
HEADER = (
    "IDs of",
    "known, 1 code",
    "known, 2 codes",
    "new, 1 code",
    "new, 2 codes",
    "text of known",
    "text of new",
    "seconds in fit",
)


class Data(NamedTuple):
    """Items, and what users did with them.

    Attributes
    ----------
    text : ndarray of shape (n_items, n_features)
    is_new : ndarray of shape (n_items,), bool
    affinity : csr_array of shape (n_items, n_items)
        From the first part of the histories; empty for new items.
    later : csr_array of shape (n_items, n_items)
        From their last part, new items included.
    views : ndarray of shape (n_items, n_features + 64)
        Text and behaviour side by side; the behaviour of new items is NaN.
    """

    text: Matrix
    is_new: NDArray[np.bool_]
    affinity: csr_array
    later: csr_array
    views: Matrix


class Fitted(NamedTuple):
    codes: Codes
    text: Matrix
    seconds: float


def load(path: Path, seed: int) -> Data:
    with np.load(path) as arrays:
        text = arrays["X"].astype(np.float32)
        items, lengths = arrays["items"].astype(np.int64), arrays["lengths"]
    histories = np.split(items, np.cumsum(lengths)[:-1])
    rng = np.random.default_rng(seed)
    is_new = np.zeros(len(text), dtype=bool)
    is_new[rng.permutation(len(text))[: int(NEW_SHARE * len(text))]] = True
    cuts = [int(TRAIN_SHARE * len(history)) for history in histories]
    earlier = [h[:cut] for h, cut in zip(histories, cuts, strict=True)]
    affinity = cooccurrence([h[~is_new[h]] for h in earlier], len(text))
    rest = [h[cut:] for h, cut in zip(histories, cuts, strict=True)]
    later = cooccurrence(rest, len(text), min_count=2)
    behaviour = behaviour_vectors(csr_array(affinity, dtype=np.float64), rng)
    behaviour[affinity.sum(axis=1) == 0] = np.nan
    return Data(text, is_new, affinity, later, np.hstack([text, behaviour]))


def of_text(data: Data, model: RQVAETransformer) -> Fitted:
    return _fitted(data, model, data.text, {})


def with_affinity(data: Data, model: RQVAETransformer) -> Fitted:
    known = ~data.is_new
    return _fitted(data, model, data.text, {"affinity": data.affinity[known][:, known]})


def concatenated(data: Data, model: RQVAETransformer) -> Fitted:
    """Views side by side as they are; zero is what new items have."""
    return _fitted(data, model, np.nan_to_num(data.views), {})


def scaled(data: Data, model: RQVAETransformer) -> Fitted:
    return _fitted(data, model, _scaler(data).transform(data.views), {})


def scaled_and_dropped(data: Data, model: RQVAETransformer) -> Fitted:
    """Every known item is fitted twice, with its behaviour and without."""
    without = data.views.copy()
    without[:, data.text.shape[1] :] = np.nan
    scaler = _scaler(data)
    more = scaler.transform(without[~data.is_new])
    return _fitted(data, model, scaler.transform(data.views), {}, more)


def _scaler(data: Data) -> BlockScaler:
    n_text = data.text.shape[1]
    blocks = {"text": n_text, "behaviour": data.views.shape[1] - n_text}
    return BlockScaler(blocks).fit(data.views[~data.is_new])


def _fitted(
    data: Data,
    model: RQVAETransformer,
    rows: Matrix,
    given: dict[str, Any],
    more: Matrix | None = None,
) -> Fitted:
    """Fit to the known rows and `more`, and encode all rows."""
    known = rows[~data.is_new]
    started = time.perf_counter()
    model.fit(known if more is None else np.vstack([known, more]), **given)
    seconds = time.perf_counter() - started
    codes = model.transform(rows)
    return Fitted(codes, _text_of(model.inverse_transform(codes), rows, data), seconds)


def _text_of(reconstructed: Matrix, rows: Matrix, data: Data) -> Matrix:
    """The text in a reconstruction, in the units of the text."""
    n_text = data.text.shape[1]
    text, encoded = data.text - data.text.mean(0), rows[:, :n_text]
    encoded = encoded - encoded.mean(0)
    unit = np.sqrt(np.square(text).sum() / np.square(encoded).sum())
    return data.text + unit * (reconstructed[:, :n_text] - rows[:, :n_text])


ROUTES: dict[str, Callable[[Data, RQVAETransformer], Fitted]] = {
    "text": of_text,
    "text, fitted with `affinity`": with_affinity,
    "text beside behaviour, concatenated": concatenated,
    "text beside behaviour, BlockScaler": scaled,
    "the same, behaviour dropped once": scaled_and_dropped,
}


def figures(data: Data, fitted: Fitted) -> list[float]:
    known = ~data.is_new
    parts = (known, data.is_new)
    return [
        *affinity_lift(fitted.codes[known], data.later[known][:, known])[:2],
        *(lift_of_new(fitted.codes[:, :length], data) for length in (1, 2)),
        *(explained_variance(data.text[part], fitted.text[part]) for part in parts),
        fitted.seconds,
    ]


def lift_of_new(prefixes: Codes, data: Data) -> float:
    """`affinity_lift` of pairs of a new and a known item."""
    _, prefix = np.unique(prefixes, axis=0, return_inverse=True)
    new, known = (prefix.ravel()[part] for part in (data.is_new, ~data.is_new))
    pairs = data.later[data.is_new][:, ~data.is_new].tocoo()
    common = new[pairs.row] == known[pairs.col]
    n_new, n_known = (
        np.bincount(part, minlength=prefix.max() + 1) for part in (new, known)
    )
    by_chance = (n_new * n_known).sum() / (len(new) * len(known))
    return float(pairs.data[common].sum() / pairs.data.sum() / by_chance)


def parser() -> ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a prepared data set")
    parser.add_argument("--codes", type=int, default=64, help="codes a codebook has")
    parser.add_argument("--epochs", type=int, help="default: as many as fit chooses")
    parser.add_argument("--hidden", type=int, default=1024, help="units of the encoder")
    return parser


def main() -> int:
    arguments: Namespace = parser().parse_args()
    print(f"**{arguments.file.stem}**, 3 x {arguments.codes} codes;", end=" ")
    print(f"{arguments.hidden} hidden units; {conditions(arguments)}\n", flush=True)
    rows = []
    for name, route in ROUTES.items():
        found = []
        for seed in arguments.seeds:
            model = RQVAETransformer(
                codebook_size=arguments.codes,
                hidden_dims=(arguments.hidden,),
                max_epochs=1 if arguments.quick else arguments.epochs,
                random_state=seed,
            )
            data = load(arguments.file, seed)
            found.append(figures(data, route(data, model)))
        series = list(zip(*found, strict=True))
        rows.append([name, *(mean_and_spread(values, 2) for values in series)])
        print(markdown_table(HEADER, rows[-1:]), file=sys.stderr, flush=True)
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
