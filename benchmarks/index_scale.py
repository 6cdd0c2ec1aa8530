"""A catalogue of any size: build it in blocks, map it in several processes, change it.

Codes are made at random, block by block, so that only the index is in memory. Then the
file is mapped by processes that look the same IDs up at the same time. Their private
memory is what each adds to the one copy that they share. Linux only.

    python benchmarks/index_scale.py --items 10000000
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from measured import mark_of_this_run
from sk_rqvae.index import SemanticIDIndex

MEGABYTE = 2**20
ASKED = 200_000
SINGLE = 2000


def blocks(options: argparse.Namespace) -> Iterator[np.ndarray]:
    """Codes of the catalogue, a block at a time."""
    rng = np.random.default_rng(0)
    left = options.items
    while left:
        n_rows = min(left, options.block)
        shape = (n_rows, options.layers)
        yield rng.integers(0, options.codebook_size, shape, dtype=np.uint16)
        left -= n_rows


def built(options: argparse.Namespace) -> SemanticIDIndex:
    index = SemanticIDIndex(codebook_size=options.codebook_size)
    remaining = blocks(options)
    index.fit(next(remaining))
    for block in remaining:
        index.add(block)
    return index


def elapsed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action(*arguments)
    return time.perf_counter() - start, result


def megabytes_of(name: str) -> float:
    """A line of the kernel's account of this process, such as its private memory."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 / MEGABYTE


def private_megabytes() -> float:
    return megabytes_of("Private_Clean") + megabytes_of("Private_Dirty")


def look_up(path: str, results: Any, ready: Barrier) -> None:
    """Map the file and look IDs up while the other processes do."""
    before = private_megabytes()
    spent, index = elapsed(lambda: SemanticIDIndex.load(path, mmap_mode="r"))
    rows = np.random.default_rng(1).integers(0, len(index), ASKED)
    ids = index.ids_of(rows)
    querying, found = elapsed(index.lookup, ids)
    np.testing.assert_array_equal(found, rows)
    allowed = len(index.allowed_next([])), len(index.allowed_next(ids[0, :2]))
    ready.wait()
    results.put((spent, querying, megabytes_of("Rss"), private_megabytes() - before))
    ready.wait()
    assert all(allowed)


def change_one_by_one(index: SemanticIDIndex) -> tuple[float, float]:
    """Microseconds of processor time an addition and a removal of one item."""
    codes = index.ids_of(range(SINGLE))[:, None, : index.n_layers_]
    start = time.process_time()
    for code in codes:
        index.add(code)
    middle = time.process_time()
    for item in range(SINGLE):
        index.remove([item])
    end = time.process_time()
    return 1e6 * (middle - start) / SINGLE, 1e6 * (end - middle) / SINGLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--codebook-size", type=int, default=256)
    parser.add_argument("--block", type=int, default=2_000_000)
    parser.add_argument("--processes", type=int, default=3)
    options = parser.parse_args()
    print(mark_of_this_run("index"), end="\n\n")
    building, index = elapsed(built, options)
    print(f"{len(index)} items built in {building:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        print(f"saved in {elapsed(index.save, path)[0]:.0f} s")
        size = path.stat().st_size
        print(f"file: {size / MEGABYTE:.0f} MB, {size / len(index):.1f} bytes an item")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory: {peak:.0f} MB, {peak * MEGABYTE / len(index):.1f} an item")
        adding, removing = change_one_by_one(index)
        print(f"one item at a time: add {adding:.0f} µs, remove {removing:.0f} µs")
        del index
        spawned = multiprocessing.get_context("spawn")
        results: Any = spawned.Queue()
        ready = spawned.Barrier(options.processes)
        arguments = str(path), results, ready
        workers = [
            spawned.Process(target=look_up, args=arguments)
            for _ in range(options.processes)
        ]
        for worker in workers:
            worker.start()
        for number in range(options.processes):
            loading, querying, resident, private = results.get()
            print(
                f"process {number + 1}: mapped in {1e3 * loading:.0f} ms, "
                f"{1e6 * querying / ASKED:.2f} µs a lookup, "
                f"{resident:.0f} MB resident, {private:.0f} MB of its own"
            )
        for worker in workers:
            worker.join()


if __name__ == "__main__":
    main()
