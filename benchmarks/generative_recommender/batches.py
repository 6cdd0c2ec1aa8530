"""Histories as tensors on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generative_recommender.interactions import Items
from generative_recommender.split import Query


@dataclass(frozen=True)
class Histories:
    """Histories one after the other.

    Attributes
    ----------
    items : Tensor of shape (n_interactions,), int64
    starts, lengths : Tensor of shape (n_users,), int64
    """

    items: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, histories: Sequence[Items], device: torch.device) -> Histories:
        lengths = np.array([len(history) for history in histories])
        starts = np.cumsum(lengths) - lengths
        arrays = (np.concatenate(histories), starts, lengths)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def windows(
        self, users: Tensor, length: int, draws: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cut a window of consecutive items out of the history of each user.

        Parameters
        ----------
        users : Tensor of shape (...), int64
        length : int
        draws : Tensor of shape (...), float64
            Position of each window among all of that length, from 0 to 1.

        Returns
        -------
        items : Tensor of shape (..., length), int64
            Behind the end of a short history, some item.
        lengths : Tensor of shape (...), int64
            How many items are of the history.
        """
        known = self.lengths[users]
        room = (known - length).clamp(min=0)
        first = (draws * (room + 1)).long().minimum(room)
        steps = torch.arange(length, device=users.device)
        at = (self.starts[users] + first)[..., None] + steps
        return self.items[at.clamp(max=len(self.items) - 1)], known.clamp(max=length)


@dataclass(frozen=True)
class QueryBatch:
    """Users whose next item is to be found.

    Attributes
    ----------
    items : Tensor of shape (n_users, length), int64
        The last items of each history, oldest first.
    last : Tensor of shape (n_users,), int64
        The position of the last item.
    candidates : Tensor of shape (n_users, n_items), bool
    """

    items: Tensor
    last: Tensor
    candidates: Tensor


def query_batches(
    query: Query, candidates: Tensor, window: int, n_users: int
) -> Iterator[QueryBatch]:
    """Divide a query into batches of `n_users`.

    Parameters
    ----------
    candidates : Tensor of shape (n_items,), bool
        On the device. The items of a history are no candidates of that user.
    """
    device = candidates.device
    for start in range(0, len(query.targets), n_users):
        known = query.histories[start : start + n_users]
        histories = Histories.of(known, device)
        users = torch.arange(len(known), device=device)
        ends = torch.ones(len(known), dtype=torch.float64, device=device)
        items, lengths = histories.windows(users, window, ends)
        allowed = candidates.repeat(len(known), 1)
        rows = users.repeat_interleave(histories.lengths)
        allowed[rows, histories.items] = False
        yield QueryBatch(items, lengths - 1, allowed)
