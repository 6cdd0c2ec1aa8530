"""Write the IDs of the rows of a file as an interactive page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae.cli.matrix_files.fitted_columns import in_fitted_order
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.reading_models import read_model, without_names
from sk_rqvae.cli.terminal import say
from sk_rqvae.cli.work.last_line import duration
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.plotting import IDTreeDisplay


def explore(
    folder: Path,
    items: Path,
    reading: Reading,
    output: Path,
    *,
    names: Path | None,
    title: str,
    device: str | None,
    quiet: bool,
) -> None:
    """Write the page.

    Parameters
    ----------
    folder : Path
        The model's.
    items : Path
        The file of rows.
    reading : Reading
        How to read the rows.
    output : Path
        The page, which was checked.
    names : Path or None
        Text file with a name a line. None names items by their keys, or numbers them.
    title : str
    device : str or None
    quiet : bool
        Whether to show no progress and no last line.

    Raises
    ------
    ValueError
        If there are more or fewer names than rows.
    """
    started = time.monotonic()
    given = None if names is None else _lines(names)
    model = read_model(folder, device)
    with (
        bars_unless(quiet),
        open_source(items, reading) as source,
        mapped(in_fitted_order(source, model), keep_keys=True) as (rows, keys),
    ):
        if given is not None and len(given) != len(rows):
            raise ValueError(
                f"{names} must have a line for each of the {len(rows)} rows of "
                f"{items}. Got {len(given)}."
            )
        codes = without_names(model).transform(rows)
    shown: Sequence[str] | None = given
    if given is None and keys is not None:
        shown = [str(key) for key in keys.tolist()]
    page = IDTreeDisplay(codes=codes, names=shown).to_html(title=title)
    with atomic_write(output) as file:
        file.write(page.encode("utf-8"))
    if not quiet:
        seconds = duration(time.monotonic() - started)
        say(f"{len(codes)} items, {seconds}, written to {output}")


def _lines(path: Path) -> list[str]:
    check_regular_file(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: {error}.") from error
