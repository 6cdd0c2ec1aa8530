"""Fit a model to a file and write it to a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from sk_rqvae import RQVAETransformer
from sk_rqvae._training.settings import check_settings
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.reading_models import without_names
from sk_rqvae.cli.work.last_line import say_result
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.cli.work.quality import measured


def fit(
    items: Path,
    output: Path,
    reading: Reading,
    parameters: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Learn a model and write it.

    Parameters
    ----------
    items : Path
        The file of rows.
    output : Path
        The folder, which was checked.
    reading : Reading
        How to read the rows.
    parameters : dict
        Of the transformer.
    quiet : bool
        Whether to show no progress and no last line.
    """
    started = time.monotonic()
    model = _unfitted(parameters)
    with (
        bars_unless(quiet),
        open_source(items, reading) as source,
        mapped(source) as (rows, _),
    ):
        model.fit(rows)
        if source.names is not None:
            model.feature_names_in_ = np.array(source.names, dtype=object)
        model.save_pretrained(output)
        if not quiet:
            quality = measured(without_names(model), rows)
            say_result("fitted", quality, time.monotonic() - started, output)


def _unfitted(parameters: dict[str, Any]) -> RQVAETransformer:
    """A transformer whose parameters are valid, which costs no reading to know."""
    model = RQVAETransformer(**parameters)
    try:
        check_settings(model)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return model
