"""Rename the codes of a model so that most items of an index keep theirs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.reading_models import without_names
from sk_rqvae.cli.terminal import say
from sk_rqvae.cli.work.index_growth import rows_for
from sk_rqvae.cli.work.index_keys import are_known, keys_like
from sk_rqvae.cli.work.last_line import duration
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.index import SemanticIDIndex


def realign_model(
    path: Path,
    folder: Path,
    items: Path,
    reading: Reading,
    output: Path,
    *,
    quiet: bool,
) -> None:
    """Write the model of `folder` to `output`, with codes named as in an index."""
    started = time.monotonic()
    index = SemanticIDIndex.load(path)
    model = RQVAETransformer.from_pretrained(folder)
    _check_sizes(index, model, path, folder)
    verbose = model.verbose  # the program asks for bars itself
    model.set_params(verbose=0)
    with bars_unless(quiet), rows_for(model, items, reading) as (rows, keys):
        if keys is not None:
            keys = keys_like(index, keys)
            if not are_known(index, keys).any():
                raise ValueError(
                    f"{items} must have items that {path} has. Got {len(keys)} others, "
                    f"such as {keys.tolist()[0]!r}."
                )
        codes = without_names(model).transform(rows)
    _, report = index.realign(codes, keys, model=model)
    report["model"].set_params(verbose=verbose).save_pretrained(output)
    if not quiet:
        kept, before = report["kept"], report["kept_without"]
        say(
            f"{report['n_common']} of {report['n_items']} items have an ID in {path}; "
            f"{_shares(kept)} of them keep their first, first two, ... codes "
            f"({_shares(before)} without new names), "
            f"{duration(time.monotonic() - started)}, written to {output}"
        )


def _check_sizes(
    index: SemanticIDIndex, model: RQVAETransformer, path: Path, folder: Path
) -> None:
    """Raise an error that names both files, before the work, if they do not fit."""
    none = np.empty((0, len(model.codebooks_)), dtype=np.int64)
    items = np.empty(0, dtype=np.int64)
    try:
        index.realign(none, items, model=model)
    except ValueError as error:
        raise ValueError(
            f"{folder} must have the levels and the codes of {path}. {error}"
        ) from error


def _shares(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f}%" for share in shares)
