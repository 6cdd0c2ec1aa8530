"""``sk-rqvae demo``."""

from __future__ import annotations

from pathlib import Path

import click

from sk_rqvae.cli.grouped_command import DescribedArgument, GroupedCommand
from sk_rqvae.cli.options import PATH, force_option, quiet_option
from sk_rqvae.cli.signals import clean_up_on_signals

_EXAMPLES = ("sk-rqvae demo", "sk-rqvae demo items.npy -o ids.npy")


@click.command(
    "demo",
    cls=GroupedCommand,
    examples=_EXAMPLES,
    short_help="Train on 4000 nouns and show their IDs.",
)
@click.argument(
    "items",
    type=PATH,
    required=False,
    cls=DescribedArgument,
    description=".npy file with a row an item.  [4000 WordNet nouns]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PATH,
    help=".npy file for the IDs.  [ITEMS-ids.npy, if there are ITEMS]",
)
@force_option
@quiet_option
@click.option(
    "--n-layers", type=int, default=3, metavar="INT", help="Codes in an ID.  [3]"
)
@click.option(
    "--codebook-size",
    type=int,
    default=256,
    metavar="INT",
    help="Codes of each level.  [256]",
)
@click.option(
    "--seed", type=int, default=0, metavar="INT", help="Seed of the training.  [0]"
)
def demo(
    items: Path | None,
    output: Path | None,
    force: bool,
    quiet: bool,
    n_layers: int,
    codebook_size: int,
    seed: int,
) -> None:
    """Train on nouns with fixed settings and show what their IDs are like.

    With ITEMS, train on that matrix and write its IDs too.
    """
    from sk_rqvae.cli.failures import UsageError
    from sk_rqvae.cli.overwriting import check_output_file

    if items is not None and items.suffix.lower() != ".npy":
        raise UsageError(f"{items} must end in .npy. Other formats: fit.")
    if output is None and items is not None:
        output = items.with_name(f"{items.stem}-ids.npy")
    if output is not None:
        if output.suffix.lower() != ".npy":
            raise UsageError(f"{output} must end in .npy. Other formats: transform.")
        inputs = () if items is None else (items,)
        check_output_file(output, force=force, inputs=inputs)
    from sk_rqvae.cli.work.demo import demo as run

    parameters = {
        "n_layers": n_layers,
        "codebook_size": codebook_size,
        "random_state": seed,
    }
    clean_up_on_signals()
    run(items, output, parameters, quiet=quiet)
