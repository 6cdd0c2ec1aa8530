"""Training steps on a GPU, recorded once as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from sk_rqvae._model.module import RQVAEModule

# As in PyTorch's own examples; fewer may do.
N_ORDINARY_STEPS = 3
# CUDA records one graph at a time in a process.
_RECORDING = Lock()


class ReplayedSteps:
    """A training step that the GPU repeats without a launch for each operation.

    Without experts, a step has about 180 to 320 operations, as ``benchmarks/speed.py
    --counts`` prints. On a few hundred rows, a GPU needs less time to compute them than
    the CPU to launch them. A CUDA graph records the kernels of one step, and one call
    replays them all. Recording waits for the device and empties PyTorch's cache of free
    device memory, which other threads share: they may allocate again, and nothing of
    theirs changes. But while it lasts, PyTorch frees no cached memory for them, so that
    theirs can run out earlier.

    A graph repeats kernels and not Python code, so the following are needed:

    - Batches are copied into one tensor, from which the recorded step reads. Batches of
      another size are trained without the graph.
    - The recorded step reads the learning rates from tensors, which are set before each
      replay.
    - Each replay advances the random number generator as an ordinary step does.
    - Where a step depends on Python values, `RQVAEModule.step_branches` lists them. If
      one changes, the step is recorded again.

    The first steps are made without a graph, as PyTorch asks for: libraries allocate
    their memory in them.

    Parameters
    ----------
    step : callable
        Makes a step of the optimizer on a batch, and returns tensors.
    module : RQVAEModule
    optimizer : torch.optim.Optimizer
        Fused, with its state on the device.
    generator : torch.Generator or None
        Draws the random numbers of a step. None is torch's global generator.
    batch_size : int
        Rows of the batches to record.

    References
    ----------
    "CUDA Graphs", https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(
        self,
        step: Callable[[Tensor], dict[str, Any]],
        module: RQVAEModule,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator | None,
        batch_size: int,
    ) -> None:
        self.step = step
        self.module = module
        self.optimizer = optimizer
        self.generator = generator
        self.batch_size = batch_size
        self._branches: tuple[bool, ...] | None = None
        self._n_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rates: list[Tensor] = []
        self._batch: Tensor | None = None
        self._outputs: dict[str, Any] = {}

    def __call__(self, batch: Tensor) -> dict[str, Any]:
        """Make one step, by a replay if one has been recorded for such batches."""
        if len(batch) != self.batch_size:
            return self.step(batch)
        branches = self.module.step_branches()
        if branches != self._branches:
            self._branches, self._n_steps = branches, 0
            # They hold the memory of the graph.
            self._graph, self._batch, self._outputs = None, None, {}
        if self._n_steps < N_ORDINARY_STEPS:
            self._n_steps += 1
            return self.step(batch)
        if self._graph is None:
            self._record(batch)
        assert self._graph is not None
        assert self._batch is not None
        self._batch.copy_(batch)
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self._graph.replay()
        return self._outputs

    def _record(self, batch: Tensor) -> None:
        """Record a step. That computes nothing and changes no tensor."""
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        self._batch = batch.clone()
        self._rates = [
            torch.zeros((), dtype=torch.float32, device=batch.device)
            for _ in self.optimizer.param_groups
        ]
        stream = torch.cuda.current_stream(batch.device)
        # Other threads may use the GPU meanwhile, hence "thread_local".
        with (
            _RECORDING,
            _rates_in_tensors(self.optimizer, self._rates),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self._outputs = self.step(self._batch)
        self._graph = graph


@contextmanager
def _rates_in_tensors(
    optimizer: torch.optim.Optimizer, rates: list[Tensor]
) -> Iterator[None]:
    """Let a step of the optimizer read its learning rates from `rates`."""
    before = [
        {name: group[name] for name in ("lr", "capturable")}
        for group in optimizer.param_groups
    ]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group.update(lr=rate, capturable=True)
    try:
        yield
    finally:
        for group, values in zip(optimizer.param_groups, before, strict=True):
            group.update(values)
