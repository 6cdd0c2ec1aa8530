"""``sk-rqvae report``: what the IDs of a matrix's rows are worth."""

from __future__ import annotations

import argparse
import json
import sys

from sk_rqvae._sklearn.progress_bars import bars_asked_for
from sk_rqvae.cli._options import add_items, add_model, opened_items, read_model
from sk_rqvae.cli._sources import mapped

SUMMARY = "show what the IDs of a matrix's rows are worth"
DESCRIPTION = """\
Show how well the IDs of a matrix's rows describe them, level by level.

Explained variance is 1 - SSE / SST of the rows that the first codes of an ID give back,
1 at best. Usage is the share of a level's codes that some row has; perplexity is the
number of codes that rows would have if they were spread evenly. Distinct counts the
different first codes: rows that share whole IDs cannot be told apart.

Rows that the model was not fitted on show what it makes of new items. A table or an
.npz file is first copied to a temporary .npy file, in the folder that the variable
TMPDIR names."""
EXAMPLES = """\
examples:
  sk-rqvae report model items.npy
  sk-rqvae report model unseen.parquet --item-column asin
  sk-rqvae report model items.npy --json | python -m json.tool"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.usage = "%(prog)s MODEL ITEMS [--json] [options]"
    add_model(parser)
    add_items(parser)
    parser.add_argument(
        "--json", action="store_true", help="write one JSON object, a list a column"
    )


def run(options: argparse.Namespace) -> None:
    """Write the table."""
    model = read_model(options)
    with bars_asked_for(), opened_items(options) as source, mapped(source) as rows:
        report = model.report(rows)
    columns = {name: column.tolist() for name, column in report.to_dict().items()}
    sys.stdout.write(f"{json.dumps(columns) if options.json else report}\n")
    sys.stdout.flush()
