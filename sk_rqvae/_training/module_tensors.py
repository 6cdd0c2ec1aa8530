"""Separate a module from its tensors, so that the two are pickled differently."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

from torch import Tensor, nn


def split_tensors(module: nn.Module) -> tuple[dict[str, Tensor], nn.Module]:
    """Parameters and buffers by name, and a copy of the module without their values.

    Returns
    -------
    tensors : dict of str to Tensor
        Those of the module itself, buffers that are not persistent included.
    empty_module : Module
        Its parameters and buffers have no memory.
    """
    tensors: dict[str, Tensor] = dict(
        chain(
            module.named_parameters(remove_duplicate=False),
            module.named_buffers(remove_duplicate=False),
        )
    )
    # A deep copy treats the objects in its memo as already copied.
    copied: dict[int, Any] = {}
    for tensor in tensors.values():
        on_meta: Tensor = tensor.detach().to("meta")
        if isinstance(tensor, nn.Parameter):
            on_meta = nn.Parameter(on_meta, tensor.requires_grad)
        copied[id(tensor)] = on_meta
    return tensors, copy.deepcopy(module, copied)


def join_tensors(tensors: dict[str, Tensor], empty_module: nn.Module) -> nn.Module:
    """Give a module that `split_tensors` made its tensors, in place."""
    for name, tensor in tensors.items():
        owner, _, attribute = name.rpartition(".")
        setattr(empty_module.get_submodule(owner), attribute, tensor)
    return empty_module
