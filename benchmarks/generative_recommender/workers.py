"""A queue of calls for processes that live through many of them."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import torch


class Workers:
    """Processes, or none: then calls run in this one.

    Parameters
    ----------
    n_processes : dict of str to int
        Processes of each kind of work.
    seconds : float or None
        No call is started after that time.
    """

    def __init__(self, n_processes: dict[str, int], seconds: float | None) -> None:
        self._pools = {kind: _pool(n) for kind, n in n_processes.items() if n}
        self._waiting: dict[Future[Any], Callable[[Any], None]] = {}
        self._here: deque[tuple[Any, ...]] = deque()
        self._end = None if seconds is None else time.monotonic() + seconds
        self.n_skipped = 0

    def submit(
        self,
        kind: str,
        then: Callable[[Any], None],
        function: Callable[..., Any],
        *arguments: Any,
    ) -> bool:
        """Queue a call. `then` gets its result, in this process."""
        call = (_timed, self._end, function, *arguments)
        if kind in self._pools:
            self._waiting[self._pools[kind].submit(*call)] = then
        else:
            self._here.append((then, *call))
        return True

    def run(self) -> None:
        """Work until the queue is empty. Results may queue more calls."""
        try:
            while self._here or self._waiting:
                if self._here:
                    then, function, *arguments = self._here.popleft()
                    self._use(then, function(*arguments))
                    continue
                done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    self._use(self._waiting.pop(future), future.result())
        finally:
            for pool in self._pools.values():
                pool.shutdown(cancel_futures=True)

    def _use(self, then: Callable[[Any], None], result: Any) -> None:
        if isinstance(result, _OutOfTime):
            self.n_skipped += 1
        else:
            then(result)


class NoWorkers:
    """Runs nothing: for what has records, the rest is counted as missing."""

    def __init__(self) -> None:
        self.n_skipped = 0

    def submit(self, *call: Any) -> bool:
        self.n_skipped += 1
        return False

    def run(self) -> None:
        pass


class _OutOfTime:
    pass


def _timed(end: float | None, function: Callable[..., Any], *arguments: Any) -> Any:
    # Processes of one machine share the monotonic clock.
    if end is not None and time.monotonic() > end:
        return _OutOfTime()
    return function(*arguments)


def _pool(n_processes: int) -> ProcessPoolExecutor:
    # A forked process cannot use a GPU.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_processes, context, torch.set_num_threads, (1,))
