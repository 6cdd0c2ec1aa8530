"""Compare the defaults of an earlier commit with those here, on the same rows.

Takes the package of that commit from the history of this repository. Each fit runs in a
process of its own. Results are kept as they come, and the next call continues. For
example::

    python benchmarks/versions.py a8fc939 --data readers characters --seeds 0 1 2 3 4
    python benchmarks/versions.py HEAD --set n_beams=8
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from _arguments import conditions, new_parser
from _data import sample_rows, split_rows
from _datasets import CACHE, DATA_SETS, load
from _records import Records, Result, code_version
from _table import markdown_table, mean_and_spread
from measured import mark_of_this_run

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("_defaults_of_a_version.py")
QUICK_EPOCHS = 2
HEADER = (
    "data",
    "rows fitted",
    "fitted, then",
    "now",
    "difference",
    "unseen, then",
    "now",
    "difference",
    "`fit`",
    "`transform`",
)
CAPTION = """\
"Fitted" and "unseen" are explained variances, "then" and "now" those of the commit and
of the sources here. `fit` and `transform` of the fitted rows are the time now over the
time then. With several seeds, means and standard deviations."""


class Version(NamedTuple):
    """A package in a folder, and parameters other than its defaults."""

    name: str
    path: Path
    parameters: Mapping[str, Any]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    records = Records(options.records)
    with TemporaryDirectory() as folder:
        try:
            commit = extract_package(options.commit, Path(folder))
        except ValueError as error:
            raise SystemExit(str(error)) from error
        versions = [
            Version(commit, Path(folder), {}),
            Version(code_version(), ROOT, dict(options.set)),
        ]
        lines = [_line(name, versions, records, options) for name in options.data]
    print(f"Then is commit {commit[:7]}; {conditions(options)}", end="\n\n")
    print(mark_of_this_run(), markdown_table(HEADER, lines), CAPTION, sep="\n\n")


def _parse(arguments: list[str] | None) -> Any:
    parser = new_parser(__doc__)
    parser.add_argument("commit", help="of this repository, to compare with")
    parser.add_argument("--data", nargs="+", choices=DATA_SETS, default=["nouns"])
    parser.add_argument("--rows", type=int, help="draw that many rows of each matrix")
    parser.add_argument("--layers", type=int, default=3, help="codes an ID has")
    parser.add_argument("--codes", type=int, default=256, help="codes a codebook has")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="parameters of the sources here, with values in JSON",
    )
    parser.add_argument("--records", type=Path, default=CACHE / "versions.jsonl")
    return parser.parse_args(arguments)


def _parameter(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise ArgumentTypeError(
            f"must be NAME=VALUE with a VALUE in JSON. Got {text!r}."
        ) from error


def extract_package(commit: str, folder: Path) -> str:
    """Write the package of a commit into a folder, and give the commit's full name.

    Raises
    ------
    ValueError
        If Git knows no such commit, or the commit has no package.
    """
    try:
        name = _git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
        archive = _git("archive", name, "sk_rqvae")
    except subprocess.CalledProcessError as error:
        raise ValueError(
            f"commit must name a commit with a folder sk_rqvae. Got {commit!r}: "
            f"{error.stderr.decode().strip()}"
        ) from error
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return name


def _git(*arguments: str) -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout


def _line(
    name: str, versions: Sequence[Version], records: Records, options: Any
) -> list[str]:
    X = sample_rows(load(name), options.rows)
    then, now = (
        [_result(name, X, seed, version, records, options) for seed in options.seeds]
        for version in versions
    )
    cells = [name, str(len(split_rows(X, 0)[0]))]
    for part in ("fitted", "unseen"):
        before, after = ([each[part] for each in results] for results in (then, now))
        cells += [mean_and_spread(before), mean_and_spread(after)]
        cells.append(mean_and_spread(np.subtract(after, before).tolist()))
    for time in ("fit_seconds", "transform_seconds"):
        before, after = (fmean(r[time] for r in results) for results in (then, now))
        cells.append(f"{after / before:.2f}")
    return cells


def _result(
    name: str,
    X: np.ndarray,
    seed: int,
    version: Version,
    records: Records,
    options: Any,
) -> Result:
    parameters = {
        "n_layers": options.layers,
        "codebook_size": options.codes,
        "random_state": seed,
        "device": "cpu",
        "max_epochs": QUICK_EPOCHS if options.quick else None,
        **version.parameters,
    }
    what = {"data": name, "rows": len(X), "version": version.name, **parameters}
    found = records.get(**what)
    if found is None:
        result = fit_version(version.path, *split_rows(X, seed), parameters)
        found = records.add(result, **what)
        print(what, found, file=sys.stderr, flush=True)
    return found


def fit_version(
    path: Path, fitted: np.ndarray, unseen: np.ndarray, parameters: Mapping[str, Any]
) -> Result:
    """What the package in a folder reaches on rows, in a process of its own."""
    with TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("fitted.npy", "unseen.npy")]
        for file, rows in zip(files, (fitted, unseen), strict=True):
            np.save(file, rows, allow_pickle=False)
        done = subprocess.run(
            [sys.executable, WORKER, *files, json.dumps(parameters)],
            env=os.environ | {"PYTHONPATH": str(path)},
            check=True,
            stdout=subprocess.PIPE,
        )
    result: Result = json.loads(done.stdout)
    found = Path(result.pop("package")).parent
    if found != path.resolve():
        raise RuntimeError(f"The package must be that in {path}. Got that in {found}.")
    return result


if __name__ == "__main__":
    main()
