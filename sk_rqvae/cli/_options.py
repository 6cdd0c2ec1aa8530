"""Options that several commands have."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from pathlib import Path

from sk_rqvae._transformer import RQVAETransformer
from sk_rqvae.cli._blocks import Columns, Source
from sk_rqvae.cli._sources import open_source


def add_items(parser: argparse.ArgumentParser) -> None:
    """Add the file of rows, and how to read it."""
    parser.add_argument(
        "items",
        metavar="ITEMS",
        type=Path,
        help="matrix, a row an item: .npy, .npz, .parquet or .csv",
    )
    group = parser.add_argument_group("how to read it")
    group.add_argument("--array", metavar="NAME", help="array of an .npz file")
    group.add_argument(
        "--item-column",
        metavar="NAME",
        help="column of a table that has the items' keys, and no numbers to encode",
    )
    group.add_argument(
        "--columns",
        metavar="NAME[,NAME]",
        type=lambda text: tuple(text.split(",")),
        help="columns of a table with the numbers, or one with lists of them; without "
        "it, all but that of the items' keys",
    )


def opened_items(options: argparse.Namespace) -> AbstractContextManager[Source]:
    """The file of rows, opened as the options say."""
    columns = Columns(options.item_column, options.columns)
    return open_source(options.items, columns, options.array)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the permission to overwrite."""
    parser.add_argument("--force", action="store_true", help="replace what is there")


def refuse_to_overwrite(path: Path | None, force: bool) -> None:
    """Raise a FileExistsError if something is at `path` that must not go."""
    if force or path is None or not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise FileExistsError(f"{path} is there already. Pass --force to replace it.")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the model, and where the model is put."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="folder that fit or save_pretrained has written",
    )
    parser.add_argument(
        "--device",
        metavar="TEXT",
        help='where to compute: "cpu" or "cuda"; without it, as in training',
    )


def read_model(options: argparse.Namespace) -> RQVAETransformer:
    """The model in the folder."""
    return RQVAETransformer.from_pretrained(options.model, device=options.device)
