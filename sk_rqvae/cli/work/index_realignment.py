"""Rename the codes of a model so that most items of an index keep theirs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.reading_models import read_model, without_names
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
    device: str | None,
    quiet: bool,
) -> None:
    """Write the model of `folder` to `output`, with codes named as in an index."""
    started = time.monotonic()
    index = SemanticIDIndex.load(path)
    model = read_model(folder, device)
    with bars_unless(quiet), rows_for(model, items, reading) as (rows, keys):
        if keys is None and index.item_type_ is str:
            raise UsageError(
                f"{path} needs keys, and {items} has none: name their column with "
                "--item-column."
            )
        known = np.arange(len(rows)) if keys is None else keys_like(index, keys)
        if not are_known(index, known).any():
            raise ValueError(
                f"{items} must have items that {path} has. Got {len(known)} others, "
                f"such as {known[:1].tolist()[0]!r}."
            )
        codes = without_names(model).transform(rows)
    _, report = index.realign(codes, known, model=model)
    # Read again, so that its parameters stay as they are: this one is on `device`.
    saved = RQVAETransformer.from_pretrained(folder)
    saved.rename_codes(report["code_maps"]).save_pretrained(output)
    if not quiet:
        kept, before = report["kept"], report["kept_without"]
        say(
            f"{report['n_common']} of {report['n_items']} items have an ID in {path}; "
            f"{_shares(kept)} of them keep their first, first two, ... codes "
            f"({_shares(before)} without new names), "
            f"{duration(time.monotonic() - started)}, written to {output}"
        )


def _shares(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f}%" for share in shares)
