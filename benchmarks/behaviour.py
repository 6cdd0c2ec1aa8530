"""Which way to let IDs follow behaviour? `affinity`, and views beside the text.

Reads a data set as ``benchmarks/generative.py --prepare`` writes it::

    python benchmarks/behaviour.py benchmarks/.cache/prepared/ml-1m.npz

A tenth of the items is new: nothing is known of them but their text. Affinity and views
are made of the first four fifths of each history, without new items. Figures are of the
last fifth: `affinity_lift` among known items, and between new and known ones, with
standard errors over items, or the spread over several seeds. The last columns are the
explained variance of the text, of known and of new items, and the time of `fit`.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from _arguments import conditions, new_parser
from _contract import Codes, Matrix
from _dropped_views import with_dropped_views
from _lift import Lift, lift_among, lift_between
from _paths import existing_file
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run
from sk_rqvae import BlockScaler, RQVAETransformer
from sk_rqvae._initialization.behaviour_vectors import behaviour_vectors
from sk_rqvae.interactions import cooccurrence
from sk_rqvae.metrics import explained_variance

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
    later = cooccurrence(rest, len(text))
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


def filled_with_mean(data: Data, model: RQVAETransformer) -> Fitted:
    return _fitted(data, model, _scaled(data, "mean"), {})


def dropped(data: Data, model: RQVAETransformer) -> Fitted:
    model = with_dropped_views(model, data.text.shape[1])
    return _fitted(data, model, _scaled(data, "mean"), {})


def predicted(data: Data, model: RQVAETransformer) -> Fitted:
    return _fitted(data, model, _scaled(data, "prediction"), {})


def _scaled(data: Data, fill: str) -> Matrix:
    n_text = data.text.shape[1]
    blocks = {"text": n_text, "behaviour": data.views.shape[1] - n_text}
    scaler = BlockScaler(blocks, fill=fill).fit(data.views[~data.is_new])
    return np.asarray(scaler.transform(data.views))


def _fitted(
    data: Data,
    model: RQVAETransformer,
    rows: Matrix,
    given: dict[str, Any],
) -> Fitted:
    """Fit to the known rows, and encode all rows."""
    started = time.perf_counter()
    model.fit(rows[~data.is_new], **given)
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
    '`BlockScaler(fill="mean")`': filled_with_mean,
    "the same, encoder trained with behaviour dropped": dropped,
    "`BlockScaler`, behaviour predicted": predicted,
}


def lifts(data: Data, codes: Codes, seed: int) -> list[Lift]:
    """For one and two codes, among known items and then of new and known ones."""
    rng = np.random.default_rng(seed)
    known = ~data.is_new
    prefixes = [
        np.unique(codes[:, :length], axis=0, return_inverse=True)[1].ravel()
        for length in (1, 2)
    ]
    among = data.later[known][:, known]
    between = data.later[data.is_new][:, known]
    return [
        *(lift_among(prefix[known], among, rng) for prefix in prefixes),
        *(
            lift_between(prefix[data.is_new], prefix[known], between, rng)
            for prefix in prefixes
        ),
    ]


def others(data: Data, fitted: Fitted) -> list[float]:
    parts = (~data.is_new, data.is_new)
    return [
        *(explained_variance(data.text[part], fitted.text[part]) for part in parts),
        fitted.seconds,
    ]


def cell(found: Sequence[Lift]) -> str:
    if len(found) == 1:
        return f"{found[0].value:.2f} ± {found[0].error:.2f}"
    return mean_and_spread([lift.value for lift in found], 2)


def parser() -> ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument(
        "file", type=existing_file, metavar="FILE", help="a prepared data set"
    )
    parser.add_argument("--codes", type=int, default=64, help="codes a codebook has")
    parser.add_argument("--epochs", type=int, help="default: as many as fit chooses")
    parser.add_argument("--hidden", type=int, default=256, help="units of the encoder")
    return parser


def main() -> int:
    arguments: Namespace = parser().parse_args()
    print(f"**{arguments.file.stem}**, 3 x {arguments.codes} codes;", end=" ")
    print(f"{arguments.hidden} hidden units; {conditions(arguments)}\n", flush=True)
    rows = []
    for name, route in ROUTES.items():
        found_lifts, found_others = [], []
        for seed in arguments.seeds:
            model = RQVAETransformer(
                codebook_size=arguments.codes,
                hidden_dims=(arguments.hidden,),
                max_epochs=1 if arguments.quick else arguments.epochs,
                random_state=seed,
            )
            data = load(arguments.file, seed)
            fitted = route(data, model)
            found_lifts.append(lifts(data, fitted.codes, seed))
            found_others.append(others(data, fitted))
        rows.append(
            [
                name,
                *map(cell, zip(*found_lifts, strict=True)),
                *(mean_and_spread(each, 2) for each in zip(*found_others, strict=True)),
            ]
        )
        print(markdown_table(HEADER, rows[-1:]), file=sys.stderr, flush=True)
    print(mark_of_this_run(), end="\n\n")
    print(markdown_table(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
