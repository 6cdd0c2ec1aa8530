"""The index against plain dictionaries: time and memory, as ratios.

Both are built in one process of one thread, and their runs alternate. Times are CPU
times, so that waiting for other programs does not count. A ratio above 1 says how many
times faster, or smaller, the index is.

    python benchmarks/index.py --items 1000000 --layers 4 --codebook-size 256
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from sk_rqvae import SemanticIDIndex

TARGETS = {
    "build, s": 3.0,
    "lookup, IDs/s": 500_000.0,
    "allowed_next, µs": 20.0,
    "memory, bytes/item": 100.0,
}


class DictIndex:
    """IDs with suffixes in a dictionary, codes that continue prefixes in another."""

    def __init__(self, codes: np.ndarray) -> None:
        self.items: dict[tuple[int, ...], int] = {}
        self.following: dict[tuple[int, ...], set[int]] = {}
        counts: dict[tuple[int, ...], int] = {}
        for item, code in enumerate(map(tuple, codes.tolist())):
            suffix = counts.get(code, 0)
            counts[code] = suffix + 1
            identifier = (*code, suffix)
            self.items[identifier] = item
            for depth, following in enumerate(identifier):
                self.following.setdefault(identifier[:depth], set()).add(following)

    def lookup(self, ids: np.ndarray) -> list[int]:
        return [self.items[identifier] for identifier in map(tuple, ids.tolist())]

    def allowed_next(self, prefix: tuple[int, ...]) -> list[int]:
        return sorted(self.following[prefix])


def skewed_codes(n_items: int, n_layers: int, size: int) -> np.ndarray:
    """Codes of which some are much more frequent than others."""
    rng = np.random.default_rng(0)
    return (size * rng.random((n_items, n_layers)) ** 2).astype(np.int64)


def seconds(action: Callable[[], Any]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def alternate(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Median seconds of two actions that take turns."""
    times = [(seconds(first), seconds(second)) for _ in range(rounds)]
    return median(t for t, _ in times), median(t for _, t in times)


def bytes_held(build: Callable[[], Any]) -> int:
    tracemalloc.start()
    held = build()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del held
    return used


def report(name: str, index: float, plain: float | None, *, rate: int = 0) -> None:
    """Print a line; with `rate`, times become that many things a second."""
    ratio = f"{plain / index:8.2f}x" if plain is not None else "        -"
    value = rate / index if rate else index
    target = TARGETS.get(name)
    print(f"{name:30} {ratio} {value:14.1f} {'' if target is None else target:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--codebook-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--without-dict", action="store_true", help="time the index alone"
    )
    options = parser.parse_args()
    codes = skewed_codes(options.items, options.layers, options.codebook_size)

    def build() -> SemanticIDIndex:
        return SemanticIDIndex(codebook_size=options.codebook_size).fit(codes)

    def build_with_names() -> SemanticIDIndex:
        return SemanticIDIndex(codebook_size=options.codebook_size).fit(codes, names)

    names = np.random.default_rng(1).permutation(options.items)
    index = build()
    rng = np.random.default_rng(2)
    asked = index.ids_[rng.permutation(options.items)[:1_000_000]]
    prefixes = [
        tuple(identifier[: rng.integers(len(identifier))])
        for identifier in asked[:5000].tolist()
    ]
    plain = None if options.without_dict else DictIndex(codes)

    def nothing() -> None:
        pass

    def compared(
        by_index: Callable[[], Any], by_dict: Callable[[], Any]
    ) -> tuple[float, float | None]:
        times = alternate(by_index, by_dict if plain else nothing, options.rounds)
        return times[0], times[1] if plain else None

    print(f"{options.items} items, {options.layers} x {options.codebook_size} codes")
    print(f"{'':30} {'dict/index':>9} {'index':>14} {'target':>12} (for a million)")
    report("build, s", *compared(build, lambda: DictIndex(codes)))
    alone, _ = alternate(build_with_names, nothing, options.rounds)
    report("build with item ids, s", alone, None)
    report(
        "lookup, IDs/s",
        *compared(lambda: index.lookup(asked), lambda: plain.lookup(asked)),
        rate=len(asked),
    )
    by_index, by_dict = compared(
        lambda: [index.allowed_next(prefix) for prefix in prefixes],
        lambda: [plain.allowed_next(prefix) for prefix in prefixes],
    )
    scale = 1e6 / len(prefixes)
    report(
        "allowed_next, µs",
        scale * by_index,
        None if by_dict is None else scale * by_dict,
    )
    held = bytes_held(build_with_names) - names.nbytes
    held_by_dict = None if plain is None else bytes_held(lambda: DictIndex(codes))
    report(
        "memory, bytes/item",
        held / options.items,
        None if held_by_dict is None else held_by_dict / options.items,
    )
    new = iter(range(options.items, 2 * options.items))
    single = [next(new) for _ in range(1000)]
    growing = build_with_names()
    spent = seconds(lambda: [growing.add(codes[:1], [item]) for item in single])
    report("add, one at a time, µs", 1e3 * spent, None)
    batch = [next(new) for _ in range(options.items // 10)]
    spent = seconds(lambda: growing.add(codes[: len(batch)], batch))
    report("add a tenth at once, s", spent, None)


if __name__ == "__main__":
    main()
