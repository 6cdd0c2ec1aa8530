"""``sk-rqvae fit``: a model from a matrix."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sk_rqvae._sklearn.progress_bars import bars_asked_for
from sk_rqvae._training.settings import check_settings
from sk_rqvae._transformer import RQVAETransformer
from sk_rqvae.cli._options import (
    add_force,
    add_items,
    opened_items,
    refuse_to_overwrite,
)
from sk_rqvae.cli._parameters import add_parameters, given_parameters
from sk_rqvae.cli._sources import mapped

SUMMARY = "learn a model from a matrix"
DESCRIPTION = """\
Learn a model from the rows of a matrix and write it to a folder.

The folder has JSON and safetensors, no pickle, and from Python it is read by
RQVAETransformer.from_pretrained. The matrix may be larger than memory: what does not
fit is read from the disk in every epoch. A table or an .npz file is first copied to a
temporary .npy file, in the folder that the variable TMPDIR names."""
EXAMPLES = """\
examples:
  sk-rqvae fit items.npy -o model
  sk-rqvae fit items.parquet --item-column asin -o model
  sk-rqvae fit items.npy -o model --random-state 0     the same model every time
  sk-rqvae fit items.npy -o model --n-layers 4 --codebook-size 512
  sk-rqvae fit items.npy -o model --max-epochs 10 --hidden-dims 512    a quick look"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.usage = "%(prog)s ITEMS -o FOLDER [--force] [options]"
    add_items(parser)
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, required=True, help="the model"
    )
    add_force(parser)
    add_parameters(parser)


def run(options: argparse.Namespace) -> None:
    """Learn a model and write it."""
    model = RQVAETransformer(**given_parameters(options))
    check_settings(model)
    refuse_to_overwrite(options.output, options.force)
    _check_folder(options.output)
    with bars_asked_for(), opened_items(options) as source, mapped(source) as rows:
        model.fit(rows)
    model.save_pretrained(options.output)


def _check_folder(path: Path) -> None:
    """Raise an error if no folder can be made there, which training should not find."""
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is not a folder.")
    if not os.access(nearest, os.W_OK):
        raise PermissionError(f"{nearest} may not be written to.")
