"""Switch off one mechanism of the recipe at a time, and see what it is worth.

Every mechanism of `_mechanisms.py` is switched off on every data set and seed. Prints
the error without it over the error of the defaults, for the same split and seed, and a
verdict for each mechanism. For example::

    python benchmarks/prepare_data.py
    python benchmarks/ablation.py --seeds 0 1 2 3 4 --jobs 2
    python benchmarks/ablation.py --table

Results are kept in a file as they come, with a hash of the package's sources. The next
call on the same sources continues, and `--table` prints what there is without running
anything. Seeds come in turn, so a run that is cut off has all mechanisms for some of
them. The data are made once by `prepare_data.py`; after that, no network is needed.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from _ablation_tables import print_tables
from _arguments import new_parser
from _contract import QUICK_EPOCHS, Matrix
from _data import sample_rows, split_rows
from _datasets import CACHE, DATA_SETS, load
from _mechanisms import BY_NAME, DEFAULT, MECHANISMS, switched_off
from _records import Records, Result, code_version
from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer
from sk_rqvae._defaults import LEARNING_RATE
from sk_rqvae.exceptions import DivergenceError
from sk_rqvae.metrics import collision_rate, reconstruction_error

DATA = (
    "nouns",
    "voices",
    "films",
    "digits",
    "pictures",
    "words",
    "patches",
    "titles",
    "readers",
    "photographs",
    "characters",
)
N_LAYERS, N_CODES = 3, 256


@dataclass(frozen=True)
class Setting:
    """What all trials of a run have in common.

    Attributes
    ----------
    n_rows : int or None
        None is all rows.
    n_codes : int
    parameters : mapping of str to Any
        Of the transformer.
    """

    n_rows: int | None
    n_codes: int
    parameters: Mapping[str, Any]


SETTINGS = {
    "full": Setting(None, N_CODES, {}),
    # As many rows per code as in full size.
    "small": Setting(600, 32, {"hidden_dims": (64,)}),
    "quick": Setting(150, 16, {"hidden_dims": (16,), "max_epochs": QUICK_EPOCHS}),
    "deep": Setting(None, N_CODES, {"hidden_dims": (512, 256)}),
    "high rate": Setting(None, N_CODES, {"lr": 4 * LEARNING_RATE}),
}


@dataclass(frozen=True)
class Trial:
    """One fit.

    Attributes
    ----------
    data : str
    mechanism : str
        What is off, or "default".
    seed : int
        Of the split and of the transformer.
    device : str
    setting : str
        A key of `SETTINGS`.
    """

    data: str
    mechanism: str
    seed: int
    device: str
    setting: str


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    records = Records(options.records)
    version = code_version()
    if not options.table:
        _run(_queue(options), records, version, options)
        print(mark_of_this_run(), end="\n\n")
    print_tables(records, None if options.table else version, options)


def run_trial(trial: Trial) -> Result:
    """Fit and measure; training that diverges is a result too."""
    warnings.simplefilter("ignore")  # of collapse, which the figures show
    setting = SETTINGS[trial.setting]
    fitted, unseen = _split(trial.data, trial.seed, setting.n_rows)
    mechanism = BY_NAME[trial.mechanism]
    start = time.perf_counter()
    with switched_off(mechanism):
        transformer = RQVAETransformer(
            n_layers=N_LAYERS,
            codebook_size=setting.n_codes,
            random_state=trial.seed,
            device=trial.device,
        )
        transformer.set_params(**{**setting.parameters, **mechanism.parameters})
        try:
            transformer.fit(fitted)
        except DivergenceError as error:
            return {"diverged": str(error)}
        seconds = time.perf_counter() - start
        return {**_measures(transformer, fitted, unseen), "seconds": seconds}


def _measures(transformer: RQVAETransformer, fitted: Matrix, unseen: Matrix) -> Result:
    codes, unseen_codes = transformer.transform(fitted), transformer.transform(unseen)
    return {
        "fitted": _error(transformer, fitted, codes),
        "unseen": _error(transformer, unseen, unseen_codes),
        "first code": _error(transformer, fitted, codes[:, :1]),
        "first code, unseen": _error(transformer, unseen, unseen_codes[:, :1]),
        "distinct": 1 - collision_rate(codes),
    }


def _error(transformer: RQVAETransformer, X: Matrix, codes: Any) -> float:
    return float(reconstruction_error(X, transformer.inverse_transform(codes)))


@lru_cache(maxsize=1)
def _split(data: str, seed: int, n_rows: int | None) -> tuple[Matrix, Matrix]:
    return split_rows(sample_rows(load(data), n_rows), seed)


def _queue(options: argparse.Namespace) -> list[Trial]:
    """Trials, seed by seed, so that the first seeds are complete."""
    names = [DEFAULT, *options.mechanisms]
    return [
        Trial(data, name, seed, options.device, options.setting)
        for seed, data, name in itertools.product(options.seeds, options.data, names)
    ]


def _run(
    trials: list[Trial], records: Records, version: str, options: argparse.Namespace
) -> None:
    """Run what the records lack, until it is done or the time is over."""
    begun = time.monotonic()
    wanted = [
        trial for trial in trials if records.get(code=version, **asdict(trial)) is None
    ]
    print(f"{len(wanted)} of {len(trials)} fits to do", file=sys.stderr)
    with closing(_results(wanted, options.jobs)) as results:
        for done, (trial, result) in enumerate(results, start=1):
            records.add(result, code=version, **asdict(trial))
            passed = time.monotonic() - begun
            print(
                f"{done}/{len(wanted)} after {passed:.0f} s: {trial.data}, seed "
                f"{trial.seed}, off: {trial.mechanism}: {_line(result)}",
                file=sys.stderr,
                flush=True,
            )
            if passed > 60 * options.minutes:
                print("The time is over; the next call continues.", file=sys.stderr)
                return


def _results(
    trials: list[Trial], n_jobs: int
) -> Generator[tuple[Trial, Result], None, None]:
    if n_jobs == 1:
        yield from ((trial, run_trial(trial)) for trial in trials)
        return
    # Forked processes could not use CUDA.
    context = multiprocessing.get_context("spawn")
    with context.Pool(n_jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.imap_unordered(_with_result, trials)


def _with_result(trial: Trial) -> tuple[Trial, Result]:
    return trial, run_trial(trial)


def _line(result: Result) -> str:
    if "diverged" in result:
        return "diverged"
    return (
        f"{result['fitted']:.4g} fitted, {result['unseen']:.4g} unseen, "
        f"{result['seconds']:.1f} s"
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--data", "--datasets", nargs="+", choices=DATA_SETS, default=DATA, dest="data"
    )
    names = [mechanism.name for mechanism in MECHANISMS]
    parser.add_argument(
        "--mechanisms", nargs="+", choices=names, default=names, metavar="NAME"
    )
    parser.add_argument(
        "--setting",
        choices=SETTINGS,
        default="full",
        help="full: the defaults; small: a seventh of the rows and an eighth of the "
        "codes; deep: hidden layers of 512 and 256 units; high rate: four times the "
        "learning rate; quick: see --quick",
    )
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument(
        "--minutes",
        type=float,
        default=float("inf"),
        help="start to stop after that time; default: no limit",
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=CACHE / "ablation.jsonl",
        help="file of results; default: %(default)s",
    )
    parser.add_argument(
        "--table", action="store_true", help="print the tables of the records alone"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.setting = "quick"
    return options


if __name__ == "__main__":
    main()
