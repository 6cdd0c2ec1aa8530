"""The index beside a dictionary, a plain trie and marisa-trie: time and memory.

All are built in one process of one thread, from the same IDs with suffixes. Times are
CPU times, so that waiting for other programs does not count. Each task is timed in
rounds in which the contenders take turns; the table has the medians. marisa-trie is
optional: ``pip install marisa-trie``. It cannot be changed once built.

    python benchmarks/index.py --items 1000000 --layers 4 --codebook-size 256
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from measured import mark_of_this_run
from sk_rqvae.index import SemanticIDIndex

N_USERS, N_BEAMS = 64, 50


class DictIndex:
    """IDs in one dictionary, the codes that continue each prefix in another."""

    def __init__(self, ids: np.ndarray) -> None:
        self.items: dict[tuple[int, ...], int] = {}
        self.following: dict[tuple[int, ...], set[int]] = {}
        for item, identifier in enumerate(map(tuple, ids.tolist())):
            self.items[identifier] = item
            for depth, following in enumerate(identifier):
                self.following.setdefault(identifier[:depth], set()).add(following)

    def lookup(self, ids: np.ndarray) -> list[int]:
        return [self.items[identifier] for identifier in map(tuple, ids.tolist())]

    def allowed_next(self, prefix: tuple[int, ...]) -> list[int]:
        return sorted(self.following[prefix])


class PlainTrie:
    """Nested dictionaries."""

    def __init__(self, ids: np.ndarray) -> None:
        self.root: dict[int, Any] = {}
        for item, identifier in enumerate(ids.tolist()):
            node = self.root
            for code in identifier[:-1]:
                node = node.setdefault(code, {})
            node[identifier[-1]] = item

    def _at(self, prefix: Sequence[int]) -> Any:
        node = self.root
        for code in prefix:
            node = node[code]
        return node

    def lookup(self, ids: np.ndarray) -> list[int]:
        return [self._at(identifier) for identifier in ids.tolist()]

    def allowed_next(self, prefix: tuple[int, ...]) -> list[int]:
        return sorted(self._at(prefix))


class MarisaIndex:
    """A static trie of the IDs as bytes, two a code."""

    def __init__(self, ids: np.ndarray) -> None:
        import marisa_trie

        self.width = ids.shape[1]
        keys = self._keys(ids)
        self.trie = marisa_trie.BytesTrie(
            (key, item.to_bytes(4, "little")) for item, key in enumerate(keys)
        )

    @staticmethod
    def _keys(ids: np.ndarray) -> list[str]:
        # Characters from 256 on: the trie takes strings, and none may be NUL.
        return ["".join(map(chr, row)) for row in (ids + 256).tolist()]

    def lookup(self, ids: np.ndarray) -> list[int]:
        found = map(self.trie.__getitem__, self._keys(ids))
        return [int.from_bytes(value[0], "little") for value in found]

    def allowed_next(self, prefix: tuple[int, ...]) -> list[int]:
        start = "".join(chr(code + 256) for code in prefix)
        depth = len(prefix)
        return sorted({ord(key[depth]) - 256 for key in self.trie.iterkeys(start)})


def skewed_codes(n_items: int, n_layers: int, size: int) -> np.ndarray:
    """Codes of which some are much more frequent than others."""
    rng = np.random.default_rng(0)
    return (size * rng.random((n_items, n_layers)) ** 2).astype(np.int64)


def seconds(action: Callable[[], Any]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def in_turns(actions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of some actions that take turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append(seconds(action))
    return {name: median(values) for name, values in times.items()}


def bytes_held(build: Callable[[], Any]) -> int:
    """Python memory of what is built; memory of C libraries is not seen."""
    tracemalloc.start()
    held = build()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del held
    return used


def report(task: str, unit: str, values: dict[str, float], scale: float) -> None:
    cells = " ".join(
        f"{scale * values[name]:14.2f}" if name in values else f"{'-':>14}"
        for name in ("index", "dict", "plain trie", "marisa-trie")
    )
    print(f"{task:34} {unit:10} {cells}")


def decoded(trie: Any, ids: np.ndarray) -> None:
    """Masks and steps of all beams, from the root to complete IDs."""
    states = np.full(len(ids), trie.root)
    for level in range(trie.n_levels):
        trie.allowed(states)
        states = trie.step(states, ids[:, level])


def states_of(trie: Any, ids: np.ndarray) -> list[np.ndarray]:
    """The states of all beams before each code."""
    states = [np.full(len(ids), trie.root)]
    for column in ids.T[:-1]:
        states.append(trie.step(states[-1], column))
    return states


def decoded_one_by_one(index: Any, ids: np.ndarray) -> None:
    for level in range(ids.shape[1]):
        for identifier in ids.tolist():
            index.allowed_next(tuple(identifier[:level]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--codebook-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n_items, size = options.items, options.codebook_size
    codes = skewed_codes(n_items, options.layers, size)
    names = np.random.default_rng(1).permutation(n_items)

    def build() -> SemanticIDIndex:
        return SemanticIDIndex(codebook_size=size).fit(codes, names)

    index = build()
    ids = index.ids_
    rivals: dict[str, Any] = {"dict": DictIndex, "plain trie": PlainTrie}
    if importlib.util.find_spec("marisa_trie") is not None:
        rivals["marisa-trie"] = MarisaIndex
    contenders = {"index": index} | {name: kind(ids) for name, kind in rivals.items()}
    rng = np.random.default_rng(2)
    asked = ids[rng.integers(0, n_items, 100_000)]
    prefixes = [tuple(i[: rng.integers(1, len(i))]) for i in asked[:2000].tolist()]
    beams = ids[rng.integers(0, n_items, N_USERS * N_BEAMS)]

    print(mark_of_this_run("index"), end="\n\n")
    print(f"{n_items} items, {options.layers} x {size} codes and a suffix")
    print(f"{'':45} {'index':>14} {'dict':>14} {'plain trie':>14} {'marisa-trie':>14}")
    builds = {"index": build} | {
        name: (lambda kind=kind: kind(ids)) for name, kind in rivals.items()
    }
    report("build", "s", in_turns(builds, 1), 1)
    held = {
        name: bytes_held(action)
        for name, action in builds.items()
        if name != "marisa-trie"
    }
    report("memory an item", "bytes", held, 1 / n_items)
    lookups = {
        name: (lambda each=each: each.lookup(asked))
        for name, each in contenders.items()
    }
    report("lookup of an ID", "µs", in_turns(lookups, options.rounds), 10)
    following = {
        name: (lambda each=each: [each.allowed_next(p) for p in prefixes])
        for name, each in contenders.items()
    }
    scale = 1e6 / len(prefixes)
    report("allowed_next", "µs", in_turns(following, options.rounds), scale)
    trie = index.trie()
    loops = {
        name: (lambda each=each: decoded_one_by_one(each, beams))
        for name, each in contenders.items()
        if name != "marisa-trie"
    }
    report(
        f"decoding {N_USERS} x {N_BEAMS} beams one by one",
        "ms",
        in_turns(loops, 1),
        1e3,
    )
    states = states_of(trie, beams)
    masked = {"index": lambda: [trie.allowed(each) for each in states]}
    report("the masks alone by the trie", "ms", in_turns(masked, options.rounds), 1e3)
    batched = {"index": lambda: decoded(trie, beams)}
    report("masks and steps by the trie", "ms", in_turns(batched, options.rounds), 1e3)
    some = rng.random(n_items) < 0.5
    restricted = trie.restricted_to(some)
    batched = {"index": lambda: decoded(restricted, beams)}
    report("the same, half of the items", "ms", in_turns(batched, options.rounds), 1e3)
    masks = {"index": lambda: trie.restricted_to(some)}
    report("restricting the trie by a mask", "ms", in_turns(masks, options.rounds), 1e3)
    report("building the trie", "s", {"index": seconds(index.trie)}, 1)
    report(
        "memory of the trie a node", "bytes", {"index": trie.nbytes}, 1 / trie.n_nodes
    )

    single = range(n_items, n_items + 1000)
    spent = seconds(lambda: [index.add(codes[:1], [item]) for item in single])
    report("add of one item", "µs", {"index": spent}, 1e3)
    spent = seconds(lambda: [index.remove([item]) for item in single])
    report("remove of one item", "µs", {"index": spent}, 1e3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        report("save", "s", {"index": seconds(lambda: index.save(path))}, 1)
        report("file an item", "bytes", {"index": path.stat().st_size}, 1 / n_items)
        loads = {"index": lambda: SemanticIDIndex.load(path)}
        report("load", "ms", in_turns(loads, 1), 1e3)
        loads = {"index": lambda: SemanticIDIndex.load(path, mmap_mode="r")}
        report("load by memory map", "ms", in_turns(loads, options.rounds), 1e3)


if __name__ == "__main__":
    main()
