"""Fit a model to a file and write it to a folder."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae import RQVAETransformer
from sk_rqvae._persistence.pretrained import add_report
from sk_rqvae._training.seeds import draw_seed
from sk_rqvae._training.settings import check_settings
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.item_tables import Items, read_affinity, read_weights
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.source import Reading
from sk_rqvae.cli.parameters import option_name
from sk_rqvae.cli.reading_models import without_names
from sk_rqvae.cli.terminal import say, say_command
from sk_rqvae.cli.work.last_line import Measures, say_result
from sk_rqvae.cli.work.progress import bars_unless
from sk_rqvae.cli.work.training_checkpoint import (
    Origin,
    TrainingCheckpoint,
    digest_of,
    read_checkpoint,
)


class _Beginning(NamedTuple):
    """The beginning of a training: a new model or a checkpoint."""

    parameters: dict[str, Any]
    state: dict[str, Any] | None = None


def fit(
    items: Path,
    output: Path,
    reading: Reading,
    parameters: dict[str, Any],
    checkpoint: Path,
    *,
    force: bool,
    resume: bool,
    quiet: bool,
    affinity: Path | None = None,
    sample_weight: Path | None = None,
    settings: Path | None = None,
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
    checkpoint : Path
        The file from which an interrupted training continues.
    force : bool
        Whether the folder's model may be replaced.
    resume : bool
        Whether to continue, if the file exists.
    quiet : bool
        Whether to show no progress and no last line.
    affinity, sample_weight : Path or None
        Tables about the items.
    settings : Path or None
        The file that options were read from.
    """
    started = time.monotonic()
    beginning = _beginning(parameters, checkpoint if resume else None)
    model = unfitted(beginning.parameters)
    has_tables = affinity is not None or sample_weight is not None
    with (
        bars_unless(quiet),
        open_source(items, reading) as source,
        mapped(source, keep_keys=has_tables) as (rows, keys),
    ):
        tables: dict[str, Any] = {}
        if has_tables:
            tables = _tables(affinity, sample_weight, Items(keys, len(rows)))
        if not resume:  # one that is there is of another training
            checkpoint.unlink(missing_ok=True)
        try:
            _train(model, rows, tables, beginning, checkpoint)
        except (KeyboardInterrupt, SystemExit):
            if checkpoint.exists():
                command = ["sk-rqvae", "fit", f"--output={output}", "--resume"]
                command += ["--force"] if force else []
                command += _options_again(reading, affinity, sample_weight, settings)
                say_command("to continue", [*command, "--", str(items)])
            else:
                say("there is no checkpoint yet: a new fit starts from the beginning")
            raise
        if source.names is not None:
            model.feature_names_in_ = np.array(source.names, dtype=object)
        model.save_pretrained(output)
        checkpoint.unlink(missing_ok=True)
        if not quiet:
            # If this pass over the rows fails, the model is there already.
            with ExitStack() as unless_reported:
                unless_reported.callback(
                    say,
                    f"the model is complete, in {output}; only its report is missing",
                )
                report = without_names(model).report(rows)
                add_report(model, output, report)
                unless_reported.pop_all()
            measures = Measures(
                report.n_items, report.n_unique, report.explained_variance[-1]
            )
            say_result("fitted", measures, time.monotonic() - started, output)


def _tables(
    affinity: Path | None, sample_weight: Path | None, items: Items
) -> dict[str, Any]:
    """What `fit` is given beside the rows."""
    tables: dict[str, Any] = {}
    if affinity is not None:
        tables["affinity"] = read_affinity(affinity, items)
    if sample_weight is not None:
        tables["sample_weight"] = read_weights(sample_weight, items)
    return tables


def _options_again(
    reading: Reading,
    affinity: Path | None,
    sample_weight: Path | None,
    settings: Path | None,
) -> list[str]:
    """Options that an interrupted fit needs again, whatever they were read from.

    The checkpoint has the parameters of the transformer. Names of columns that have
    commas cannot be typed: they are from `settings`, a file that is needed again.
    """
    columns = reading.columns
    has_commas = columns is not None and any("," in name for name in columns)
    given = {
        "--item-column": reading.key_column,
        "--columns": ",".join(columns) if columns and not has_commas else None,
        "--array": reading.array,
        "--unpack-limit": reading.unpack_limit,
        "--affinity": affinity,
        "--sample-weight": sample_weight,
    }
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    if has_commas:
        options.append(f"--config={settings}")
    if reading.has_header is not None:
        options.append("--header" if reading.has_header else "--no-header")
    return options


def _beginning(given: dict[str, Any], checkpoint: Path | None) -> _Beginning:
    """The parameters and the state of an interrupted training, if there is one."""
    if checkpoint is None:
        return _Beginning(given)
    if not checkpoint.exists():
        say(
            f"there is no {checkpoint}: the training starts from the beginning, with "
            "the parameters of this command"
        )
        return _Beginning(given)
    state = read_checkpoint(checkpoint)
    saved = json.loads(state["parameters"])
    for name, value in json.loads(json.dumps(given)).items():
        if name not in saved or saved[name] != value:
            raise UsageError(
                f"{option_name(name)} must be as in the interrupted fit, "
                f"{saved.get(name, 'not given')}. Got {value}."
            )
    parameters = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in saved.items()
    }
    return _Beginning(parameters, state)


def unfitted(parameters: dict[str, Any]) -> RQVAETransformer:
    """A transformer with valid parameters; they are checked before any row is read."""
    model = RQVAETransformer(**parameters)
    try:
        check_settings(model)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return model


def _train(
    model: RQVAETransformer,
    rows: NDArray[Any],
    tables: dict[str, Any],
    beginning: _Beginning,
    checkpoint: Path,
) -> None:
    """Train with checkpoints. They contain the seed, so that a fit can be resumed."""
    asked, state = model.random_state, beginning.state
    seed = draw_seed(asked) if state is None else state["seed"]
    # An int stands for itself, so that the model is the one that Python fits.
    seed = asked if isinstance(asked, int) else seed
    origin = Origin(json.dumps(beginning.parameters), seed, digest_of(rows, tables))
    if state is not None and state["rows"] != origin.rows:
        raise ValueError(
            f"{checkpoint} is of a training on other rows or tables. Pass --force "
            "instead of --resume to start anew."
        )
    callback = TrainingCheckpoint(checkpoint, origin, state)
    model.set_params(random_state=seed, callbacks=[callback])
    model.fit(rows, **tables)
    model.set_params(random_state=asked, callbacks=None)
