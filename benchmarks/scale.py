"""Seconds and memory of `fit` and `transform` as the data and the codes grow.

From a middle size, the rows, the columns, the levels and the codes of a level vary one
at a time, over two orders of magnitude. Every case is a process of its own, for this
package at its defaults and for faiss's residual quantizer with five beams. Where faiss
is missing, it is left out. For example::

    OMP_NUM_THREADS=2 python benchmarks/scale.py --minutes 5
    python benchmarks/scale.py --vary rows --device cuda

Rows are random, as in `seconds.py`: times are those of real embeddings of that size. A
case that takes longer than `--minutes` is ended, and larger ones of its kind are
skipped. Results are kept in a file as they come, with a hash of the package's sources,
and the next call on the same sources continues. Memory needs Linux.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from _arguments import conditions, new_parser
from _contract import QUICK_EPOCHS, Matrix, Task
from _datasets import CACHE
from _faiss import fit_faiss
from _records import Records, Result, code_version
from _table import NOTHING, markdown_table
from measured import mark_of_this_run
from memory import MB, PeakGrowth
from seconds import made_rows
from sk_rqvae import RQVAETransformer

N_BEAMS = 5
QUICK_WIDTH = 16
COLUMNS = ("fit, s", "transform, s", "fit, MiB", "transform, MiB")


@dataclass(frozen=True)
class Case:
    """A size of the data and of the IDs."""

    rows: int = 10_000
    columns: int = 128
    levels: int = 3
    codes: int = 256


@dataclass(frozen=True)
class Axis:
    """What varies, and what the other sizes are."""

    values: Sequence[int]
    middle: Case = Case()


AXES = {
    "rows": Axis((1_000, 3_000, 10_000, 30_000, 100_000)),
    "columns": Axis((16, 64, 256, 1024, 2048)),
    "levels": Axis((1, 3, 10, 30, 100), Case(codes=64)),
    "codes": Axis((16, 64, 256, 1024, 2048)),
}
QUICK_AXES = {
    "rows": Axis((100, 200), Case(columns=8, codes=8)),
    "columns": Axis((4, 8), Case(rows=100, codes=8)),
    "levels": Axis((1, 2), Case(rows=100, columns=8, codes=8)),
    "codes": Axis((4, 8), Case(rows=100, columns=8)),
}


@dataclass(frozen=True)
class Run:
    """A case of one method on one device."""

    method: str
    case: Case
    device: str
    n_threads: int
    quick: bool


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    if find_spec("faiss") is None:
        print("Left out faiss, which is missing.", file=sys.stderr)
    methods = [name for name in METHODS if name == "ours" or find_spec(name)]
    records = Records(options.records)
    print(f"Times and memory: {conditions(options)}", end="\n\n")
    print(mark_of_this_run(), end="\n\n")
    for name in options.vary:
        axis = (QUICK_AXES if options.quick else AXES)[name]
        results = {
            method: _along(method, name, axis, records, options) for method in methods
        }
        sizes = asdict(axis.middle)
        del sizes[name]
        others = ", ".join(f"{size:,} {what}" for what, size in sizes.items())
        print(f"**{name}**, with {others}:\n")
        print(table(name, axis.values, results), end="\n\n")
    print(CAPTION)


CAPTION = """\
Memory is what the process holds beyond what it held before the call, at its peak; on a
CUDA device, that of the device. The last row is the exponent of growth between the two
largest sizes: 1 is linear. "skipped" is what would take longer than the limit, or what
faiss does not do."""


def _along(
    method: str, name: str, axis: Axis, records: Records, options: argparse.Namespace
) -> list[Result]:
    """Results by size; after one that takes too long, larger ones are skipped."""
    results: list[Result] = []
    for value in axis.values:
        run = Run(
            method,
            replace(axis.middle, **{name: value}),
            options.device,
            torch.get_num_threads(),
            options.quick,
        )
        if results and "skipped" in results[-1]:
            results.append(results[-1])
            continue
        results.append(_recorded(run, records, options.minutes))
        print(f"{name} {value}, {method}: {results[-1]}", file=sys.stderr, flush=True)
    return results


def _recorded(run: Run, records: Records, minutes: float) -> Result:
    what = {"code": code_version(), **asdict(run)}
    result = records.get(**what) or _in_process(run, 60 * minutes)
    # What is skipped may have more time in the next call.
    return result if "skipped" in result else records.add(result, **what)


def _in_process(run: Run, max_seconds: float) -> Result:
    """Measure in a fresh process, which is ended after `max_seconds`."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_measures, args=(run, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(max_seconds):
            return {"skipped": f"longer than {max_seconds / 60:g} minutes"}
        return receiver.recv()
    except EOFError:  # the process died, of too little memory or of an error it printed
        process.join()
        return {"skipped": f"failed with exit code {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _send_measures(run: Run, sender: Connection) -> None:
    sender.send(measure(run))


def measure(run: Run) -> Result:
    """Seconds and MiB of fitting and of encoding the same rows."""
    warnings.simplefilter("ignore")  # random rows make models collapse
    torch.set_num_threads(run.n_threads)
    _warm_up(run)
    X = made_rows(run.case.rows, run.case.columns)
    encode, fit_seconds, fit_mb = _measured(lambda: METHODS[run.method](X, run), run)
    _, seconds, mb = _measured(lambda: encode(X), run)
    return dict(zip(COLUMNS, (fit_seconds, seconds, fit_mb, mb), strict=True))


def _warm_up(run: Run) -> None:
    """Import and load what the first fit of a process does."""
    tiny = replace(run, case=Case(200, 8, 2, 8), quick=True)
    X = made_rows(tiny.case.rows, tiny.case.columns)
    METHODS[run.method](X, tiny)(X)


def _measured(action: Callable[[], Any], run: Run) -> tuple[Any, float, float]:
    on_gpu = run.method == "ours" and run.device.startswith("cuda")
    if on_gpu:
        torch.zeros(1, device=run.device)  # what CUDA itself needs is none of ours
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with PeakGrowth() as growth:
        start = time.perf_counter()
        result = action()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    if on_gpu:
        return result, seconds, (torch.cuda.max_memory_allocated() - before) / MB
    return result, seconds, growth.mb


def _fit_ours(X: Matrix, run: Run) -> Callable[[Matrix], Any]:
    transformer = RQVAETransformer(
        n_layers=run.case.levels,
        codebook_size=run.case.codes,
        random_state=0,
        device=run.device,
    )
    if run.quick:
        transformer.set_params(max_epochs=QUICK_EPOCHS, hidden_dims=(QUICK_WIDTH,))
    return transformer.fit(X).transform


def _fit_faiss(X: Matrix, run: Run) -> Callable[[Matrix], Any]:
    import faiss

    faiss.omp_set_num_threads(run.n_threads)
    task = Task(run.case.levels, run.case.codes, seed=0)
    return fit_faiss(X, task, n_beams=N_BEAMS).encode


METHODS = {"ours": _fit_ours, "faiss": _fit_faiss}


def table(name: str, values: Sequence[int], results: dict[str, list[Result]]) -> str:
    """Sizes by row, each method's figures side by side, and how they grow."""
    header = [name, *(f"{method}: {c}" for method in results for c in COLUMNS)]
    rows = []
    for position, value in enumerate(values):
        figures = [of_method[position] for of_method in results.values()]
        cells = [_cell(figure, c) for figure in figures for c in COLUMNS]
        rows.append([f"{value:,}", *cells])
    growth = [
        _exponent(values, [figure.get(c) for figure in of_method])
        for of_method in results.values()
        for c in COLUMNS
    ]
    return markdown_table(header, [*rows, ["exponent", *growth]])


def _cell(figures: Result, column: str) -> str:
    if "skipped" in figures:
        return "skipped"
    value = figures[column]
    return f"{value:.0f}" if column.endswith("MiB") or value >= 10 else f"{value:.2f}"


def _exponent(values: Sequence[int], figures: Sequence[float | None]) -> str:
    """Slope in logarithms, between the two largest sizes that were measured."""
    known = [
        (value, figure)
        for value, figure in zip(values, figures, strict=True)
        if figure is not None and figure > 0
    ]
    if len(known) < 2:
        return NOTHING
    (size, figure), (larger, larger_figure) = known[-2:]
    return f"{math.log(larger_figure / figure) / math.log(larger / size):.2f}"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--vary", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="of a case; default: %(default)s"
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=CACHE / "scale.jsonl",
        help="file of results; default: %(default)s",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
