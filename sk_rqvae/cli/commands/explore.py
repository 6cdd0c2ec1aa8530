"""``sk-rqvae explore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sk_rqvae.cli.grouped_command import GroupedCommand
from sk_rqvae.cli.options import (
    PATH,
    config_option,
    device_option,
    force_option,
    items_argument,
    model_argument,
    quiet_option,
    reading_options,
)
from sk_rqvae.cli.signals import clean_up_on_signals

if TYPE_CHECKING:
    from sk_rqvae.cli.matrix_files.source import Reading

_EXAMPLES = (
    "sk-rqvae explore model items.npy -o tree.html",
    "sk-rqvae explore model items.npy --names names.txt -o tree.html",
    "sk-rqvae explore model items.parquet --item-column title -o tree.html",
)
_ENDINGS = (".html", ".htm")


@click.command(
    "explore",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    options_metavar="-o FILE [OPTIONS]",
    short_help="Write an interactive page of the IDs, for a browser.",
)
@model_argument
@items_argument
@click.option(
    "-o", "--output", metavar="FILE", type=PATH, required=True, help="The .html page."
)
@click.option(
    "--names",
    metavar="FILE",
    type=PATH,
    help="Text file with a name a line.  [the items' keys]",
)
@click.option("--title", metavar="TEXT", help="Title of the page.  [name of ITEMS]")
@force_option
@device_option
@config_option
@quiet_option
@reading_options
def explore(
    model: Path,
    items: Path,
    reading: Reading,
    output: Path,
    names: Path | None,
    title: str | None,
    force: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Write the tree of the rows' IDs as one interactive page.

    Click a code to see the items that have it, or search for a name. The page needs no
    server and loads nothing from the network.
    """
    from sk_rqvae.cli.failures import UsageError
    from sk_rqvae.cli.matrix_files.opening import check_reading
    from sk_rqvae.cli.overwriting import check_output_file
    from sk_rqvae.cli.reading_models import check_model, files_of_model

    if output.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{output} must end in .html.")
    check_model(model, items, command="explore")
    check_reading(items, reading)
    inputs = (items, *files_of_model(model), *(() if names is None else (names,)))
    check_output_file(output, force=force, inputs=inputs)
    from sk_rqvae.cli.work.explore import explore as run

    clean_up_on_signals()
    run(
        model,
        items,
        reading,
        output,
        names=names,
        title=items.stem if title is None else title,
        device=device,
        quiet=quiet,
    )
