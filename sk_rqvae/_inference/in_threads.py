"""Apply a function to blocks of rows, on several threads of a CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import CDLL
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

# A choice, not measured. What Python itself does runs in one thread at a time.
_MAX_THREADS = 16


def number_of_threads(device: torch.device) -> int:
    """How many threads of this process `map_in_threads` uses at most."""
    return min(torch.get_num_threads(), _MAX_THREADS) if device.type == "cpu" else 1


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """Results of `function` for each item, in order and without gradients.

    On a CPU there are as many threads as torch would use, at most 16. Each computes an
    item by itself, because the operations of an item are too small to be shared.

    Parameters
    ----------
    function : callable
        Must not depend on the order of its calls.
    items : iterable
        Read in the thread of the caller, a few items ahead.
    device : torch.device
        Where `function` computes. Only on a CPU are there threads.

    Yields
    ------
    result
        As soon as it and those before it are there.

    Raises
    ------
    Exception
        The first one that `function` raises, in the order of items. Items that no
        thread has begun are dropped then, and if the caller closes the iterator.
    """

    def compute(item: Item) -> Result:
        with torch.inference_mode():  # a setting of each thread by itself
            return function(item)

    n_threads = number_of_threads(device)
    if n_threads == 1:
        yield from map(compute, items)
        return
    items = iter(items)
    first_two = list(islice(items, 2))
    if len(first_two) < 2:
        with _limit_to_one_thread():
            results = [*map(compute, first_two)]
        yield from results
        return
    with ThreadPoolExecutor(n_threads, initializer=_compute_alone) as executor:
        pending: deque[Future[Result]] = deque()
        try:
            for item in chain(first_two, items):
                pending.append(executor.submit(compute, item))
                if len(pending) > n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _compute_alone() -> None:
    """Let the calling thread compute without help from others, until it ends."""
    torch.get_num_threads()  # torch sets the number when a thread first asks
    _libraries().limit(limits=1, user_api="openmp")
    _set_mkl_threads(1)


@contextmanager
def _limit_to_one_thread() -> Iterator[None]:
    """Let the calling thread alone compute without help, until the block ends."""
    with _libraries().limit(limits=1, user_api="openmp"):
        before = _set_mkl_threads(1)
        try:
            yield
        finally:
            _set_mkl_threads(before)


def _set_mkl_threads(n_threads: int) -> int:
    """Set how many threads MKL has for the calling thread; return what it was.

    After `torch.set_num_threads(n)`, torch tells MKL in each thread to use `n`, which
    comes before the limit of OpenMP. 0 is the usual number.
    """
    function = _mkl_function()
    return 0 if function is None else int(function(n_threads))


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """The OpenMP libraries of this process, torch's among them; found once."""
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _mkl_function() -> Callable[[int], int] | None:
    """MKL's function for the threads of one thread; None if torch does not offer it.

    Neither torch nor threadpoolctl calls it for one thread alone. Wheels for Linux
    offer it where they contain MKL.
    """
    library = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
    if not library.exists():
        return None
    return getattr(CDLL(str(library)), "MKL_Set_Num_Threads_Local", None)
