"""Memory and time of training on a file: anonymous memory at its peak, and ratios.

A file of seeded float32 rows is made in a temporary folder. A child process opens it as
a read-only memory map, trains on it and transforms it, while a thread samples how much
anonymous memory the process has (``RssAnon`` of Linux, which leaves out the pages of
the file). Then another child does the same with a part of the rows, in memory and from
the file by turns, with the file's pages dropped from the cache before each.

    python benchmarks/memory.py --mb 4096 --hidden-dims 64 --embed-dim 32 --epochs 2
    python benchmarks/memory.py --mb 4096 --hidden-dims 512 --embed-dim 768 --epochs 1
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _paths import existing_folder
from measured import mark_of_this_run

MB = 2**20
BOUNDS = {"fit": 700, "partial_fit": 700, "transform": 400}
RATIO_BOUND = 1.5
BLOCK_ROWS = 65536
SAMPLED_EVERY = 0.005


def anonymous_mb() -> float:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no RssAnon: it needs Linux 4.5 or later.")


class PeakGrowth:
    """By how many MiB anonymous memory grew at most, since the block began."""

    def __enter__(self) -> PeakGrowth:
        gc.collect()
        self.before = self.peak = anonymous_mb()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self.mb = max(self.peak, anonymous_mb()) - self.before

    def _sample(self) -> None:
        while not self._over.wait(SAMPLED_EVERY):
            self.peak = max(self.peak, anonymous_mb())


def write_rows(path: Path, n_rows: int, n_columns: int) -> None:
    """Rows in 4096 clusters of their own directions, a block at a time."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4096, n_columns)).astype(np.float32)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    for start in range(0, n_rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, n_rows - start)
        block = rng.standard_normal((count, n_columns), dtype=np.float32)
        block += centres[rng.integers(len(centres), size=count)]
        rows[start : start + count] = block
    rows.flush()


def drop_from_cache(path: Path) -> None:
    """Make the next reads of a file that nobody has mapped come from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def new_transformer(parameters: dict[str, Any], **changes: Any) -> Any:
    from sk_rqvae import RQVAETransformer

    return RQVAETransformer(**{**parameters, **changes})


def report_memory(path: Path, parameters: dict[str, Any]) -> None:
    """Print the growth of each call on the complete file."""
    drop_from_cache(path)
    estimator = new_transformer(parameters, resident_mb=0)
    rows = np.load(path, mmap_mode="r")
    codes = np.empty(0)
    print(f"{'':12} {'peak, MiB':>10} {'bound':>6} {'seconds':>8} {'µs/row':>8}")
    for call in BOUNDS:
        start = time.perf_counter()
        with PeakGrowth() as growth:
            result = getattr(estimator, call)(rows)
        seconds = time.perf_counter() - start
        if call == "transform":
            codes = result
        beyond = growth.mb - codes.nbytes / MB
        passes = estimator.n_iter_ if call == "fit" else 1
        each = 1e6 * seconds / len(rows) / passes
        print(f"{call:12} {beyond:10.0f} {BOUNDS[call]:6} {seconds:8.1f} {each:8.2f}")


def best_seconds(actions: list[Callable[[], Any]], rounds: int) -> list[float]:
    """The shortest time of each of several actions that take turns."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, taken in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def report_ratios(path: Path, parameters: dict[str, Any], rounds: int) -> None:
    """Print how many times longer rows of a file take than rows in memory."""
    rows = np.load(path)

    def mapped() -> np.ndarray:
        drop_from_cache(path)
        return np.load(path, mmap_mode="r")

    resident = new_transformer(parameters, resident_mb=2 * rows.nbytes / MB)
    streamed = new_transformer(parameters, resident_mb=0)
    ratios = {
        "fit": (lambda: resident.fit(rows), lambda: streamed.fit(mapped())),
        "transform": (
            lambda: resident.transform(rows),
            lambda: resident.transform(mapped()),
        ),
    }
    print(f"\n{len(rows)} rows, best of {rounds} by turns")
    print(
        f"{'':12} {'in memory, s':>12} {'from file, s':>12} {'ratio':>6} (at most 1.5)"
    )
    for call, actions in ratios.items():
        in_memory, from_file = best_seconds(list(actions), rounds)
        ratio = from_file / in_memory
        times = f"{in_memory:12.2f} {from_file:12.2f}"
        print(f"{call:12} {times} {ratio:6.2f} {RATIO_BOUND:6}")


def in_child(function: Callable[..., None], *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=function, args=arguments
    )
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mb", type=int, default=4096, help="size of the file, MiB")
    parser.add_argument("--columns", type=int, default=768)
    parser.add_argument("--hidden-dims", type=int, nargs="*", default=[64])
    parser.add_argument("--embed-dim", type=int, default=32)
    parser.add_argument("--codes", type=int, default=256, help="codes a codebook has")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--early-stopping", action="store_true")
    parser.add_argument(
        "--separate-ids", action="store_true", help="separate_ids=True, not 'auto'"
    )
    parser.add_argument(
        "--timed-mb", type=int, default=384, help="size of the part that is timed"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=existing_folder, help="where the temporary folder is made"
    )
    options = parser.parse_args()
    parameters = {
        "hidden_dims": tuple(options.hidden_dims),
        "embed_dim": options.embed_dim,
        "codebook_size": options.codes,
        "max_epochs": options.epochs,
        "early_stopping": options.early_stopping,
        "separate_ids": options.separate_ids or "auto",
        "random_state": 0,
        "device": "cpu",
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "rows.npy"
        n_rows = options.mb * MB // (4 * options.columns)
        write_rows(path, n_rows, options.columns)
        print(mark_of_this_run(), end="\n\n")
        print(f"{n_rows} x {options.columns} float32, {options.mb} MiB; {parameters}")
        in_child(report_memory, path, parameters)
        path.unlink()
        if options.rounds:
            n_timed = options.timed_mb * MB // (4 * options.columns)
            write_rows(path, n_timed, options.columns)
            in_child(report_ratios, path, parameters, options.rounds)


if __name__ == "__main__":
    main()
