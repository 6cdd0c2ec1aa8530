"""A made-up set for tests: users of one taste each, and items with telling texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from generative_recommender.interactions import Interactions

N_TASTES = 6
N_ITEMS = 90
N_USERS = 120
LENGTH = 9
N_WORDS = 5


def load_made(cache: Path | None = None) -> Interactions:
    """Make items and histories. Nothing is read."""
    rng = np.random.default_rng(0)
    taste = rng.integers(N_TASTES, size=N_ITEMS)
    texts = [
        " ".join(f"word{each}{rng.integers(N_WORDS)}" for _ in range(4))
        for each in taste
    ]
    histories = []
    for user in range(N_USERS):
        liked = np.flatnonzero(taste == user % N_TASTES)
        weights = np.where(np.isin(np.arange(N_ITEMS), liked), 1.0, 0.05)
        histories.append(
            rng.choice(N_ITEMS, LENGTH, replace=False, p=weights / weights.sum())
        )
    return Interactions(texts, histories)
