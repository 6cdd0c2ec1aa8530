"""Streams of a GPU that record graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

# PyTorch gives 32 streams by turns: "torch.cuda.Stream", CUDAStream.h.
_STREAMS_OF_PYTORCH = 32


class StreamsForGraphs:
    """Streams that trainings take by turns, each used by one training at a time.

    PyTorch has a limited number of streams, so a new one can be the stream in which
    another training records a step. And libraries keep memory for each stream that was
    ever used, so a new stream for every training would take more and more of it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: dict[torch.device, list[torch.cuda.Stream]] = defaultdict(list)
        self._used: set[tuple[torch.device, int]] = set()

    @contextmanager
    def stream(self, device: torch.device) -> Iterator[torch.cuda.Stream]:
        """A stream of `device` that no other training has meanwhile.

        Raises
        ------
        RuntimeError
            If so many trainings run at once that all streams are in use.
        """
        with self._lock:
            free = self._free[device]
            stream = free.pop() if free else self._unused(device)
            self._used.add((device, stream.cuda_stream))
        try:
            yield stream
        finally:
            with self._lock:
                self._used.discard((device, stream.cuda_stream))
                self._free[device].append(stream)

    def _unused(self, device: torch.device) -> torch.cuda.Stream:
        for _ in range(_STREAMS_OF_PYTORCH):
            stream = torch.cuda.Stream(device)
            if not self._is_used(device, stream):
                return stream
        raise RuntimeError(
            f"{len(self._used)} trainings on {device} use all of its streams. Train "
            "fewer at once, or in several processes."
        )

    def _is_used(self, device: torch.device, stream: torch.cuda.Stream) -> bool:
        return (device, stream.cuda_stream) in self._used


_STREAMS = StreamsForGraphs()


@contextmanager
def stream_for_graphs(device: torch.device) -> Iterator[None]:
    """Run what follows on a stream of its own, since the default one records nothing.

    Gradients must be accumulated on the stream that records, in all steps.
    """
    default = torch.cuda.current_stream(device)
    with _STREAMS.stream(device) as stream:
        stream.wait_stream(default)
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            default.wait_stream(stream)
