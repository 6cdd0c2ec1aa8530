"""Train a stack of recommenders, each with its own IDs, settings and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from generative_recommender.batches import Histories
from generative_recommender.layers import Layout, Weights, initial_weights, unpack
from generative_recommender.recommenders import (
    Catalogue,
    binary_loss,
    generation_loss,
    rows_of,
    softmax_loss,
    user_states,
)

WEIGHT_DECAY = 0.01
LARGEST_NORM = 1.0
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Settings:
    """What is tuned.

    Attributes
    ----------
    lr : float
        Largest learning rate of AdamW. It rises over a tenth of the steps, then
        falls.
    dropout : float
    loss : {"generation", "softmax", "binary"}
    """

    lr: float
    dropout: float
    loss: str


@dataclass(frozen=True)
class Plan:
    """What all runs share.

    Attributes
    ----------
    max_steps : int
        Rounded up to epochs. An epoch shows one random window of each user's history.
        The learning rate falls to zero over them.
    steps_a_look : int
        Steps between two looks at the validation items, rounded to epochs.
    patience : int
        Looks without a better NDCG@10 before a run stops.
    n_valid : int
        Users whose validation item is looked at.
    stride : int
        A step predicts the item after every so many positions of a window. The first
        of them is another one at each step.
    n_beams : int
    tests : bool
        Whether the test and cold items are scored, or validation items alone.
    """

    max_steps: int = 2000
    steps_a_look: int = 500
    patience: int = 2
    n_valid: int = 1000
    stride: int = 2
    n_beams: int = 20
    tests: bool = True

    def shortened(self) -> Plan:
        """The plan of runs that choose settings: a third of the steps, one look."""
        steps = -(-self.max_steps // 3)
        return replace(self, max_steps=steps, steps_a_look=steps, tests=False)


@dataclass(frozen=True)
class Trained:
    """The best weights of each run.

    Attributes
    ----------
    flat : Tensor of shape (n_runs, n_weights)
    valid_ndcg : ndarray of shape (n_runs,)
    epochs : ndarray of shape (n_runs,)
        The best epoch, counted from 1.
    """

    flat: Tensor
    valid_ndcg: np.ndarray
    epochs: np.ndarray


class _Adam:
    """AdamW with a learning rate for each row of a matrix, and gradients clipped."""

    def __init__(self, flat: Tensor, lr: Tensor) -> None:
        self.lr = lr[:, None]
        self.mean, self.square = torch.zeros_like(flat), torch.zeros_like(flat)
        self.n_steps = 0

    @torch.no_grad()
    def step(self, flat: Tensor, grad: Tensor, factor: float) -> None:
        self.n_steps += 1
        norm = grad.norm(dim=1, keepdim=True)
        grad = grad * (LARGEST_NORM / norm.clamp(min=LARGEST_NORM))
        first, second = BETAS
        self.mean.lerp_(grad, 1 - first)
        self.square.lerp_(grad.square(), 1 - second)
        mean = self.mean / (1 - first**self.n_steps)
        root = (self.square / (1 - second**self.n_steps)).sqrt_().add_(1e-8)
        flat -= factor * self.lr * (mean / root + WEIGHT_DECAY * flat)

    def keep(self, runs: Tensor) -> None:
        self.lr = self.lr[runs]
        self.mean, self.square = self.mean[runs], self.square[runs]


def train(
    layout: Layout,
    catalogue: Catalogue,
    histories: Histories,
    warm: Tensor,
    settings: Sequence[Settings],
    seeds: Sequence[int],
    plan: Plan,
    window: int,
    batch_size: int,
    validate: Callable[[Tensor, int], float],
) -> Trained:
    """Train until no run improves on its validation items any more.

    Parameters
    ----------
    layout : mapping
    catalogue : Catalogue
    histories : Histories
    warm : Tensor of shape (n_items,), bool
    settings : sequence of Settings, one for each run
        All with the same loss.
    seeds : sequence of int, one for each run
        Decide initial weights and batches. Dropout and the negatives of the binary loss
        also depend on the other runs, and so do initial weights if these have more
        codes.
    plan : Plan
    window : int
        Most items that are read.
    batch_size : int
        Users a step.
    validate : callable
        Takes the weights of one run, (1, n_weights), and its position, and returns
        NDCG@10.
    """
    device = histories.items.device
    flat = initial_weights(layout, seeds).to(device)
    adam = _Adam(flat, torch.tensor([each.lr for each in settings], device=device))
    rates = torch.tensor([each.dropout for each in settings], device=device)
    generator = torch.Generator(device).manual_seed(seeds[0])
    rngs = [np.random.default_rng(seed) for seed in seeds]
    runs = np.arange(len(seeds))
    best = Trained(flat.clone(), np.full(len(seeds), -1.0), np.zeros(len(seeds), int))
    n_users = len(histories.lengths)
    n_steps = -(-n_users // batch_size)
    max_epochs = -(-plan.max_steps // n_steps)
    epochs_a_look = max(1, round(plan.steps_a_look / n_steps))
    for epoch in range(1, max_epochs + 1):
        users, draws = _epoch(rngs, runs, n_users, device)
        for step in range(n_steps):
            batch = slice(step, None, n_steps)
            flat.requires_grad_()
            with precision(device):
                items, lengths = histories.windows(
                    users[:, batch], window + 1, draws[:, batch]
                )
                loss = _loss(
                    unpack(flat, layout),
                    catalogue,
                    items,
                    lengths,
                    warm,
                    rates,
                    settings[0].loss,
                    adam.n_steps % plan.stride,
                    plan.stride,
                    generator,
                )
            (grad,) = torch.autograd.grad(loss.sum(), flat)
            flat = flat.detach()
            adam.step(flat, grad, _factor(adam.n_steps, n_steps * max_epochs))
        if epoch % epochs_a_look and epoch < max_epochs:
            continue
        for row, run in enumerate(runs):
            found = validate(flat[row : row + 1], run)
            if found > best.valid_ndcg[run]:
                best.flat[run] = flat[row]
                best.valid_ndcg[run], best.epochs[run] = found, epoch
        waits = epoch - best.epochs[runs] < plan.patience * epochs_a_look
        if not waits.any():
            break
        if not waits.all():
            runs, kept = runs[waits], torch.from_numpy(np.flatnonzero(waits)).to(device)
            flat, rates, catalogue = flat[kept], rates[kept], catalogue.of(kept)
            adam.keep(kept)
    return best


def _factor(step: int, n_steps: int) -> float:
    """Rise over the first tenth of the steps, then fall to zero."""
    return min(10 * (step + 1) / n_steps, (1 - step / n_steps) / 0.9, 1.0)


def precision(device: torch.device) -> AbstractContextManager[None]:
    """Multiply in bfloat16 on a GPU."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def _epoch(
    rngs: Sequence[np.random.Generator],
    runs: np.ndarray,
    n_users: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Shuffle users and draw windows, for each run by its own generator."""
    users = np.stack([rngs[run].permutation(n_users) for run in runs])
    draws = np.stack([rngs[run].random(n_users) for run in runs])
    return torch.from_numpy(users).to(device), torch.from_numpy(draws).to(device)


def _loss(
    weights: Weights,
    catalogue: Catalogue,
    items: Tensor,
    lengths: Tensor,
    warm: Tensor,
    rates: Tensor,
    loss: str,
    first: int,
    stride: int,
    generator: torch.Generator,
) -> Tensor:
    """Mean loss of each run at every `stride`-th position, of shape (n_runs,)."""
    ids = catalogue.ids
    at = torch.arange(first, items.shape[2] - 1, stride, device=items.device)
    states = user_states(weights, ids, items[:, :, :-1], at, rates, generator)
    real = (at < lengths[..., None] - 1).flatten(1)
    # Positions behind the end of histories come last, and most are left out. The rest
    # make the runs of a stack as long; the item there may be cold, its loss infinite.
    n_kept = int(real.sum(1).max())
    kept = real.argsort(dim=1, descending=True, stable=True)[:, :n_kept]
    real = real.gather(1, kept)
    states = rows_of(states.flatten(1, 2), kept)
    targets = items[:, :, at + 1].flatten(1).gather(1, kept)
    targets = torch.where(real, targets, warm.int().argmax())
    if loss == "generation":
        losses = generation_loss(weights, states, targets, catalogue)
    elif loss == "softmax":
        losses = softmax_loss(weights, states, targets, ids, warm)
    else:
        losses = binary_loss(weights, states, targets, ids, warm, generator)
    return (losses * real).sum(1) / real.sum(1).clamp(min=1)
