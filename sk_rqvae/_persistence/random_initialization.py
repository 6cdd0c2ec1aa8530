"""Modules that are built without drawing random numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class NoRandomNumbers(TorchDispatchMode):
    """Put zeros where an operation would draw random numbers.

    A module whose weights are loaded needs no random ones. PyTorch would draw them from
    a generator that all threads of a process share. This context applies to the calling
    thread alone and uses no generator, so loading neither disturbs other threads nor
    waits for them.

    Notes
    -----
    PyTorch tags the operations that draw random numbers, so they need not be listed. It
    documents dispatch modes as the way to see every operation, but keeps the class in a
    module whose name begins with an underscore.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, or return zeros of the shape of its result."""
        options = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **options)
        if func._schema.is_mutable:
            return args[0].zero_()
        options.pop("generator", None)
        inputs = [each for each in args if isinstance(each, Tensor)]
        device = options.get("device") or (inputs[0].device if inputs else "cpu")
        if "device" in options or not inputs:
            options["device"] = "meta"
        shape = func(*map(_on_meta, args), **options)
        return torch.zeros_like(shape, device=device)


def _on_meta(argument: Any) -> Any:
    return argument.to("meta") if isinstance(argument, Tensor) else argument
