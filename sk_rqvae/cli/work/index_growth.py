"""Build an index with a model, and add to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.fitted_columns import (
    check_without_rows,
    in_fitted_order,
)
from sk_rqvae.cli.matrix_files.mapped import Mapped, mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import NoRowsError, Reading
from sk_rqvae.cli.reading_models import read_model, without_names
from sk_rqvae.cli.terminal import say
from sk_rqvae.cli.work.index_keys import check_new, keys_like
from sk_rqvae.cli.work.index_saving import save_changes, what_became_of
from sk_rqvae.cli.work.last_line import duration
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.index import SemanticIDIndex
from sk_rqvae.index.code_model import route_of
from sk_rqvae.index.fingerprint import fingerprint


def build_index(
    folder: Path,
    items: Path,
    reading: Reading,
    output: Path,
    policy: str,
    *,
    device: str | None,
    quiet: bool,
) -> None:
    """Make an index of all rows and write it."""
    started = time.monotonic()
    model = read_model(folder, device)
    with bars_unless(quiet), rows_for(model, items, reading) as (rows, keys):
        model = without_names(model)
        codes = model.transform(rows)
        index = SemanticIDIndex(policy=policy).fit(codes, keys, X=rows, model=model)
    index.save(output, on_conflict="overwrite")
    if not quiet:
        say(
            f"{len(index)} items, {index.summary()['n_unique']} distinct codes, "
            f"{duration(time.monotonic() - started)}, written to {output}"
        )


def add_to_index(
    path: Path,
    folder: Path,
    items: Path,
    reading: Reading,
    *,
    skip_known: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Give all rows IDs and write the index anew, unless there are no new ones."""
    started = time.monotonic()
    index = SemanticIDIndex.load(path)
    n_before = len(index)
    model = read_model(folder, device)
    _check_model_of(index, model, path, folder)
    try:
        with bars_unless(quiet), rows_for(model, items, reading) as (rows, keys):
            n_rows = len(rows)
            if keys is None and (skip_known or index.item_type_ is str):
                needs = "--skip-known" if skip_known else str(path)
                raise UsageError(
                    f"{needs} needs keys, and {items} has none: name their column with "
                    "--item-column."
                )
            if keys is not None:
                keys = keys_like(index, keys)
                if not skip_known:
                    check_new(index, keys, items)
            model = without_names(model)
            codes = model.transform(rows)
            index.add(
                codes,
                keys,
                X=rows,
                model=model,
                on_duplicate="skip" if skip_known else "raise",
            )
    except NoRowsError as error:  # a day without new items is no failure of a daily job
        check_without_rows(items, error, model)
        n_rows = 0
    n_added = len(index) - n_before
    if n_added:
        save_changes(index, path)
    if not quiet:
        parts = [f"added {n_added} items to {n_before}"]
        if not n_rows:
            parts.append(f"{items} has no rows")
        elif skip_known:
            parts.append(f"skipped {n_rows - n_added}")
        parts.append(duration(time.monotonic() - started))
        parts.append(what_became_of(path, changed=n_added > 0))
        say(", ".join(parts))


def _check_model_of(
    index: SemanticIDIndex, model: RQVAETransformer, path: Path, folder: Path
) -> None:
    """Raise an error that says what to type unless the index is of the model.

    The index refuses such a model too. But it advises a method, which is Python, and
    after all rows were encoded.
    """
    expected, found = index.fingerprint_, fingerprint(route_of(model))
    if found == expected:
        return
    build = (
        f"sk-rqvae index build {folder} ITEMS -o FILE. It gives all items new IDs; "
        "index realign keeps some"
    )
    if expected is None:
        raise ValueError(
            f"{path} was made without a model, and its codes may be those of another "
            f"one than {folder}. Build an index with the model: {build}"
        )
    raise ValueError(
        f"{folder} must be the model that {path} was built with. Got fingerprint "
        f"{found[:12]}, expected {expected[:12]}. Pass that model, or build an index "
        f"with this one: {build}"
    )


@contextmanager
def rows_for(
    model: RQVAETransformer, items: Path, reading: Reading
) -> Iterator[Mapped]:
    """Open a file of items as a matrix in the order of the model, with its keys."""
    with (
        open_source(items, reading) as source,
        mapped(in_fitted_order(source, model), keep_keys=True) as matrix,
    ):
        yield matrix
