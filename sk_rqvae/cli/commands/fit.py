"""``sk-rqvae fit``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_rqvae.cli.grouped_command import GroupedCommand
from sk_rqvae.cli.options import (
    PATH,
    config_option,
    force_option,
    items_argument,
    quiet_option,
    reading_options,
)
from sk_rqvae.cli.overwriting import check_no_checkpoint, check_output_folder
from sk_rqvae.cli.parameters import given_parameters, parameter_options
from sk_rqvae.cli.settings_file import SETTINGS
from sk_rqvae.cli.signals import clean_up_on_signals

if TYPE_CHECKING:
    from sk_rqvae.cli.matrix_files.source import Reading

_EXAMPLES = (
    "sk-rqvae fit items.npy -o model",
    "sk-rqvae fit items.parquet --item-column asin -o model",
    "sk-rqvae fit items.npy -o model --n-layers 4 --codebook-size 512",
    "sk-rqvae fit items.npy -o model --max-epochs 10 --hidden-dims 512",
    "sk-rqvae fit items.parquet --item-column asin --affinity pairs.csv -o model",
)


@click.command(
    "fit",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    short_help="Learn a model from a matrix.",
    options_metavar="-o FOLDER [OPTIONS]",
)
@items_argument
@click.option(
    "-o", "--output", metavar="FOLDER", type=PATH, required=True, help="The model."
)
@force_option
@click.option(
    "--resume", is_flag=True, help="Continue an interrupted fit, if there is one."
)
@click.option(
    "--affinity",
    metavar="FILE",
    type=PATH,
    help="Pairs that belong together: .csv, .tsv or .parquet with item_a, item_b and "
    "perhaps weight.",
)
@click.option(
    "--sample-weight",
    metavar="FILE",
    type=PATH,
    help="Weights of items: .csv, .tsv or .parquet with item and weight; 0 if not "
    "listed.",
)
@config_option
@quiet_option
@reading_options
@parameter_options
def fit(
    items: Path,
    output: Path,
    affinity: Path | None,
    sample_weight: Path | None,
    reading: Reading,
    force: bool,
    resume: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Learn a model from the rows of a matrix and write it to a folder.

    The matrix may be larger than memory. RQVAETransformer.from_pretrained reads the
    folder from Python. A long fit writes FOLDER.checkpoint once a minute, from which
    --resume continues after an interruption.
    """
    from sk_rqvae.cli.matrix_files.item_tables import check_item_table
    from sk_rqvae.cli.matrix_files.opening import check_reading

    parameters = given_parameters(click.get_current_context())
    check_reading(items, reading)
    check_item_table("--affinity", affinity)
    check_item_table("--sample-weight", sample_weight)
    check_output_folder(output, force=force)
    # "." and ".." are no names of their own.
    folder = output.resolve() if output.name in ("", "..") else output.absolute()
    checkpoint = folder.with_name(f"{folder.name}.checkpoint")
    if not (resume or force):
        check_no_checkpoint(checkpoint)
    from sk_rqvae.cli.work.fit import fit as run

    # The first step of the optimizer would import it, with some 800 modules.
    importlib.import_module("torch._dynamo")
    clean_up_on_signals()
    run(
        items,
        output,
        reading,
        parameters,
        checkpoint,
        force=force,
        resume=resume,
        quiet=quiet,
        affinity=affinity,
        sample_weight=sample_weight,
        settings=click.get_current_context().meta.get(SETTINGS),
    )
