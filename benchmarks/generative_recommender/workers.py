"""A queue of calls for processes that live through many of them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from typing import Any

import torch


class Workers:
    """Processes, or none: then calls run at once in this process.

    Parameters
    ----------
    n_processes : dict of str to int
        Processes of each kind of work.
    seconds : float or None
        No call is started after that time.
    """

    def __init__(self, n_processes: dict[str, int], seconds: float | None) -> None:
        self._pools = {kind: _pool(n) for kind, n in n_processes.items()}
        self._waiting: dict[Future[Any], Callable[[Any], None]] = {}
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
        future = self._pools[kind].submit(_timed, self._end, function, *arguments)
        self._waiting[future] = then
        return True

    def run(self) -> None:
        """Wait until the queue is empty. The queue may grow in the meantime."""
        try:
            while self._waiting:
                done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    then, result = self._waiting.pop(future), future.result()
                    if isinstance(result, _OutOfTime):
                        self.n_skipped += 1
                    else:
                        then(result)
        finally:
            for pool in self._pools.values():
                pool.shutdown(cancel_futures=True)


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


class _Here(Executor):
    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


def _pool(n_processes: int) -> Executor:
    if not n_processes:
        return _Here()
    # A forked process cannot use a GPU.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_processes, context, torch.set_num_threads, (1,))
