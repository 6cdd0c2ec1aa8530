"""A generator of one thread in place of PyTorch's global generator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# They take a generator. The functions of `torch.nn.init` call these, or are these.
_DRAWING = frozenset(
    {
        "bernoulli",
        "bernoulli_",
        "cauchy_",
        "exponential_",
        "geometric_",
        "kaiming_normal_",
        "kaiming_uniform_",
        "log_normal_",
        "multinomial",
        "normal",
        "normal_",
        "rand",
        "randint",
        "randn",
        "random_",
        "randperm",
        "uniform_",
    }
)
# They take none, but these do the same.
_FILLING = {"rand_like": "uniform_", "randn_like": "normal_"}


class PrivateGenerator(TorchFunctionMode):
    """Let PyTorch's functions draw from a generator of this context.

    Layers draw their initial weights from a generator that all threads share. In this
    context, which applies to the calling thread alone, they draw from one that nobody
    else uses. So other threads neither change these numbers nor have theirs changed,
    and no lock is needed.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> import torch
    >>> before = torch.get_rng_state()
    >>> with PrivateGenerator(seed=0):
    ...     one = torch.nn.Linear(2, 3)
    >>> with PrivateGenerator(seed=0):
    ...     other = torch.nn.Linear(2, 3)
    >>> bool((one.weight == other.weight).all())
    True
    >>> bool((torch.get_rng_state() == before).all())
    True
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, with the generator if it draws numbers."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _FILLING:
            filled = torch.empty_like(*args, **options)
            fill = getattr(filled, _FILLING[name])
            return fill(generator=self._generator(filled.device))
        if name in _DRAWING and options.get("generator") is None:
            options["generator"] = self._generator(_device(args, options))
        return func(*args, **options)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            generator = torch.Generator(device).manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]


def _device(args: Any, options: dict[str, Any]) -> torch.device:
    """The device on which a function draws."""
    for argument in (*args, *options.values()):
        if isinstance(argument, Tensor):
            return argument.device
    device = options.get("device")
    return torch.get_default_device() if device is None else torch.device(device)
