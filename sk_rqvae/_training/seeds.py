"""Randomness that is repeatable and leaves the global generators as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

_LARGEST_SEED = 2**31 - 1
_ONE_AT_A_TIME = threading.RLock()


def draw_seed(random_state: Any) -> int:
    """A seed from `random_state`; None takes fresh entropy from the system."""
    if random_state is None:
        return int(np.random.default_rng().integers(_LARGEST_SEED))
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators, and put back their states afterwards.

    Only those that are used: `torch.manual_seed` would seed every device there is.
    They belong to the process, so one thread at a time has them.
    """
    cuda = [device] if device.type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
