"""Repeatable random numbers, independent of the global generators."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

_MAX_SEED = 2**31 - 1


class Generators(NamedTuple):
    """The random number generators of one training.

    Attributes
    ----------
    cpu : torch.Generator
        Draws what is needed on the host: which rows are read, and in which order.
    device : torch.Generator
        Draws on the device of the model; the same object where that is the CPU.
    """

    cpu: torch.Generator
    device: torch.Generator


def new_generators(seed: int, device: torch.device) -> Generators:
    """Generators that `seed` determines.

    Parameters
    ----------
    seed : int
    device : torch.device

    Returns
    -------
    Generators
    """
    cpu = torch.Generator().manual_seed(seed)
    if device.type == "cpu":
        return Generators(cpu, cpu)
    return Generators(cpu, torch.Generator(device).manual_seed(seed))


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A NumPy generator that is seeded from a torch generator on the CPU."""
    return np.random.default_rng(next_seed(generator))


def next_seed(generator: torch.Generator) -> int:
    """Draw a seed from a generator on the CPU."""
    return int(torch.randint(_MAX_SEED, (), generator=generator))


def draw_seed(random_state: Any) -> int:
    """Draw a seed from `random_state`; None takes fresh entropy from the system."""
    if random_state is None:
        return int(np.random.default_rng().integers(_MAX_SEED))
    return int(check_random_state(random_state).randint(_MAX_SEED))
