"""Train the recommender, and stop where the validation item says so."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generative_recommender.decoding import beam_search
from generative_recommender.model import CodeTransformer
from generative_recommender.ranking import gains
from generative_recommender.split import Query, Split
from generative_recommender.trie import Trie

K = 10
WEIGHT_DECAY = 0.01
LARGEST_NORM = 1.0
USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Settings:
    """How a recommender is trained.

    Attributes
    ----------
    lr : float
        Learning rate of AdamW, after a warm-up over the first epoch.
    dropout : float
    width : int
    n_layers : int
    batch_size : int
        Users a step.
    max_epochs : int
        An epoch shows one random window of each user's history.
    epochs_a_look : int
        Epochs between looks at the validation items.
    patience : int
        Epochs without a better NDCG@10 of the validation items before training stops.
    n_beams : int
    """

    lr: float = 2e-3
    dropout: float = 0.2
    width: int = 64
    n_layers: int = 2
    batch_size: int = 16
    max_epochs: int = 120
    epochs_a_look: int = 3
    patience: int = 24
    n_beams: int = 20


@dataclass(frozen=True)
class Trained:
    """A recommender with the weights of its best epoch.

    Attributes
    ----------
    model : CodeTransformer
    epoch : int
        The best epoch, counted from 1.
    valid_ndcg : float
        NDCG@10 of the validation items at that epoch.
    """

    model: CodeTransformer
    epoch: int
    valid_ndcg: float


def train(trie: Trie, split: Split, settings: Settings, seed: int) -> Trained:
    """Train a recommender on the IDs in `trie`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(trie, split, settings, np.random.default_rng(seed))


def _train(
    trie: Trie, split: Split, settings: Settings, rng: np.random.Generator
) -> Trained:
    model = CodeTransformer(
        trie,
        width=settings.width,
        n_layers=settings.n_layers,
        dropout=settings.dropout,
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=WEIGHT_DECAY
    )
    n_steps = -(-len(split.train) // settings.batch_size)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / n_steps, 1.0, n_steps)
    best = Trained(model, 0, -1.0)
    for epoch in range(1, settings.max_epochs + 1):
        model.train()
        for users in np.array_split(rng.permutation(len(split.train)), n_steps):
            windows = [
                random_window(split.train[user], model.max_length + 1, rng)
                for user in users
            ]
            optimizer.zero_grad()
            loss(model, windows).backward()
            nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
            optimizer.step()
            warmup.step()
        if epoch % settings.epochs_a_look and epoch < settings.max_epochs:
            continue
        ranked = recommend(model, trie, split.valid, settings.n_beams)
        found = gains(ranked[:, :K], split.valid.targets).mean()
        if found > best.valid_ndcg:
            best = Trained(copy.deepcopy(model), epoch, found)
        elif epoch - best.epoch >= settings.patience:
            break
    return best


def loss(model: CodeTransformer, windows: list[NDArray[np.int64]]) -> Tensor:
    """Mean negative log-probability of each item after those before it."""
    items, lengths = padded(windows)
    states = model.user_states(items[:, :-1])
    real = torch.arange(items.shape[1] - 1) < lengths[:, None] - 1
    return -model.item_log_probs(states[real], items[:, 1:][real]).mean()


@torch.no_grad()
def recommend(
    model: CodeTransformer, trie: Trie, query: Query, n_beams: int
) -> NDArray[np.int64]:
    """The most probable items that each user has not watched, the best first."""
    model.eval()
    found = []
    for start in range(0, len(query.histories), USERS_AT_ONCE):
        histories = query.histories[start : start + USERS_AT_ONCE]
        items, lengths = padded([history[-model.max_length :] for history in histories])
        states = model.user_states(items)[torch.arange(len(items)), lengths - 1]
        allowed = torch.from_numpy(unseen(histories, len(trie.codes)))
        found.append(beam_search(model, trie, states, allowed, n_beams)[0])
    return torch.cat(found).numpy()


def unseen(histories: list[NDArray[np.int64]], n_items: int) -> NDArray[np.bool_]:
    """Which items are not in each history, of shape (n_users, n_items)."""
    allowed = np.ones((len(histories), n_items), dtype=bool)
    for row, history in zip(allowed, histories, strict=True):
        row[history] = False
    return allowed


def random_window(
    history: NDArray[np.int64], length: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most `length` consecutive items."""
    start = rng.integers(max(len(history) - length, 0) + 1)
    return history[start : start + length]


def padded(rows: list[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one tensor with zeros behind, and the lengths."""
    tensors = [torch.tensor(row) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths
