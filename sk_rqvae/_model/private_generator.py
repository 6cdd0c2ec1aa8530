"""A generator of one thread in place of PyTorch's global generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# They take a generator. The functions of `torch.nn.init` call these, or are these, and
# so do those of `torch.distributions`.
_DRAWING = frozenset(
    {
        "_sample_dirichlet",
        "_standard_gamma",
        "bernoulli",
        "bernoulli_",
        "binomial",
        "cauchy_",
        "exponential_",
        "geometric_",
        "kaiming_normal_",
        "kaiming_uniform_",
        "log_normal_",
        "multinomial",
        "normal",
        "normal_",
        "poisson",
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
        Seeds the generators of this context, one per device.
    generators : sequence of torch.Generator, default=()
        Draw from these on their devices instead.

    Notes
    -----
    Functions that neither take a generator nor are replaced here draw from the global
    one: `torch.nn.functional.rrelu`, say, and the dropout inside attention.

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

    def __init__(self, seed: int, generators: Sequence[torch.Generator] = ()) -> None:
        super().__init__()
        self._seed = seed
        self._generators = {indexed(each.device): each for each in generators}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, with the generator if it draws numbers."""
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _REPLACED:
            with self:
                return _REPLACED[name](*args, **options)
        if name in _FILLING:
            filled = torch.empty_like(*args, **options)
            fill = getattr(filled, _FILLING[name])
            return fill(generator=self._generator(filled.device))
        if name in _DRAWING and options.get("generator") is None:
            options["generator"] = self._generator(_device(args, options))
        return func(*args, **options)

    def _generator(self, device: torch.device) -> torch.Generator:
        device = indexed(device)
        if device not in self._generators:
            generator = torch.Generator(device).manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]


def _dropout(
    input: Tensor,  # noqa: A002 - the name that callers use
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    train: bool = True,
) -> Tensor:
    """`torch.nn.functional.dropout`, by a function that takes a generator.

    `train` is the name that `torch.dropout` has for `training`.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be in [0, 1]. Got {p}.")
    if not (training and train) or p == 0:
        return input
    mask = torch.empty_like(input, requires_grad=False).bernoulli_(1 - p)
    if p < 1:
        mask.div_(1 - p)
    return input.mul_(mask) if inplace else input * mask


def _dropout_in_place(input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002
    return _dropout(input, p, train, inplace=True)


def _gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
) -> Tensor:
    """`torch.nn.functional.gumbel_softmax`, by a function that takes a generator."""
    noise = -torch.empty_like(logits, requires_grad=False).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    best = soft.argmax(dim, keepdim=True)
    one_hot = torch.zeros_like(soft).scatter_(dim, best, 1)
    return one_hot - soft.detach() + soft


_REPLACED: dict[str, Callable[..., Tensor]] = {
    "dropout": _dropout,
    "dropout_": _dropout_in_place,
    "gumbel_softmax": _gumbel_softmax,
}


def indexed(device: torch.device) -> torch.device:
    """The device itself where "cuda" means the current one."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _device(args: Any, options: dict[str, Any]) -> torch.device:
    """The device on which a function draws."""
    for argument in (*args, *options.values()):
        if isinstance(argument, Tensor):
            return argument.device
    device = options.get("device")
    return torch.get_default_device() if device is None else torch.device(device)
