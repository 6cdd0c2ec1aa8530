"""A record of the operations of PyTorch, for tests of steps on a device."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class OperationLog(TorchDispatchMode):
    """Record operations that made a tensor on the CPU, or waited for the device.

    PyTorch documents dispatch modes as the way to see every operation, and keeps the
    class in a module whose name begins with an underscore.
    """

    WAITING = ("_local_scalar_dense", "nonzero", "item", "equal")

    def __init__(self):
        super().__init__()
        self.n_operations = 0
        self.n_detached = 0
        self.on_cpu = []
        self.waits = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.n_operations += 1
        name = func.name().removeprefix("aten::").partition(".")[0]
        self.n_detached += name == "detach"
        if name in self.WAITING:
            self.waits.append(name)
        made = out if isinstance(out, (tuple, list)) else [out]
        if any(torch.is_tensor(each) and each.device.type == "cpu" for each in made):
            self.on_cpu.append(name)
        return out
