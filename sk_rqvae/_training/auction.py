"""An auction that finds prices at which rows choose different IDs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sk_rqvae._model.id_prices import PriceList
from sk_rqvae._progress import ProgressCallback, no_progress
from sk_rqvae._training.runs import first_of_runs

# Bounds of time and memory.
_ROUNDS = 100
_ROWS_AT_ONCE = 65536
_KEYS_PER_SORT = 2**20
# If all rows that stay have no other candidate, any price above what the others lose by
# leaving makes these leave. It is that loss times this factor.
_RAISE_WITHOUT_ALTERNATIVE = 1.5
_MIN_KEY = -(2**63)


@torch.no_grad()
def auction(
    keys: list[Tensor],
    costs: Tensor,
    on_progress: ProgressCallback = no_progress,
    *,
    capacity: int = 1,
    max_error: float = math.inf,
) -> PriceList:
    """Find prices at which at most `capacity` rows choose one ID.

    Parameters
    ----------
    keys : list of Tensor of shape (n_of_block, n_candidates), int64
        Candidate IDs of each row, in blocks. Emptied, to save the memory of a copy.
    costs : Tensor of shape (n, n_candidates), float32 or float64
        Error of the row under each candidate.
    on_progress : ProgressCallback
        Called after each round with its share of 1, and not for rounds saved.
    capacity : int, default=1
        At least 1.
    max_error : float, default=inf
        Largest total error of the chosen candidates, relative to the smallest possible
        total. The cheapest separations are kept until this limit.

    Returns
    -------
    PriceList

    Notes
    -----
    1. In each round, every row chooses the candidate of least cost plus price.
    2. If more than `capacity` rows choose one ID, its price rises. The rows that would
       lose most by leaving stay; the new price lies between the smallest loss of these
       and the next one, so that all others leave.
    3. Prices only rise, and the auction ends when none does, or after `_ROUNDS`
       rounds. Exact duplicates have equal candidates and costs, and stay together.
    4. If the total error exceeds `max_error`, all prices are clipped at a common
       maximum, the largest that keeps the limit. Rows then still leave shared IDs
       where that costs them less than the maximum price.

    References
    ----------
    Bertsekas (1988), "The auction algorithm: a distributed relaxation method for the
    assignment problem".
    """
    wanted = _wanted_by_more_than(capacity, keys)
    where = _positions(wanted, keys)
    # The last price, always zero, is that of IDs that at most `capacity` rows want.
    prices = torch.zeros(len(wanted) + 1, dtype=torch.float64, device=costs.device)
    choices = _Choices(where, costs, prices)
    for _ in range(_ROUNDS):
        raise_by = _raises(choices, len(prices), capacity)
        risen = raise_by > 0
        if not bool(risen.any()):
            break
        prices += raise_by
        choices.update(prices, risen)
        on_progress(1 / _ROUNDS)
    if max_error < math.inf:
        prices = _clipped(where, costs, prices, max_error)
    priced = prices[:-1] > 0
    return PriceList(wanted[priced], prices[:-1][priced])


def _wanted_by_more_than(n_rows: int, keys: Sequence[Tensor]) -> Tensor:
    """Keys of more than `n_rows` rows, ascending; found one range of keys at a time."""
    n_keys = sum(block.numel() for block in keys)
    n_ranges = -(-n_keys // _KEYS_PER_SORT)
    edges = [_MIN_KEY + 2**64 * part // n_ranges for part in range(1, n_ranges)]
    parts = [part for block in keys for part in block.split(_ROWS_AT_ONCE)]
    found = []
    for low, high in itertools.pairwise([_MIN_KEY, *edges, -_MIN_KEY - 1]):
        inside = torch.cat([part[(part >= low) & (part < high)] for part in parts])
        each, count = torch.unique(inside, return_counts=True)
        found.append(each[count > n_rows])
    return torch.cat(found)


def _positions(wanted: Tensor, keys: list[Tensor]) -> Tensor:
    """Indices of keys in `wanted`, or its length if not in it; empties `keys`."""
    positions = []
    while keys:
        for block in keys.pop(0).split(_ROWS_AT_ONCE):
            position = torch.searchsorted(wanted, block, out_int32=True)
            if len(wanted):
                known = wanted[position.clamp_max(len(wanted) - 1)] == block
                position.masked_fill_(~known, len(wanted))
            positions.append(position)
    return torch.cat(positions)


def _clipped(where: Tensor, costs: Tensor, prices: Tensor, max_error: float) -> Tensor:
    """Prices clipped at the largest of them that keeps the limit of the error."""
    limit = max_error * _total_error(where, costs, torch.zeros_like(prices))
    if _total_error(where, costs, prices) <= limit:
        return prices
    maxima = torch.unique(prices)  # ascending, from 0, which always keeps the limit
    low, high = 0, len(maxima) - 1
    while high - low > 1:
        middle = (low + high) // 2
        clipped = prices.clamp_max(maxima[middle])
        if _total_error(where, costs, clipped) <= limit:
            low = middle
        else:
            high = middle
    return prices.clamp_max(maxima[low])


def _total_error(where: Tensor, costs: Tensor, prices: Tensor) -> float:
    """Sum of the errors, without prices, of the candidates that rows choose."""
    total = 0.0
    for position, cost in zip(
        where.split(_ROWS_AT_ONCE), costs.split(_ROWS_AT_ONCE), strict=True
    ):
        chosen = (cost + _at(prices, position)).argmin(1, keepdim=True)
        total += float(cost.gather(1, chosen).double().clamp_min(0).sum())
    return total


def _raises(choices: _Choices, n_prices: int, capacity: int) -> Tensor:
    """Increase of the price of each ID, given the choices of all rows."""
    n_takers = torch.bincount(choices.first, minlength=n_prices)
    n_takers[-1] = 0
    crowded = _at(n_takers, choices.first) > capacity
    chosen, losses = choices.first[crowded], choices.losses[crowded]
    order = losses.argsort(descending=True)
    order = order[chosen[order].argsort(stable=True)]
    chosen, losses = chosen[order], losses[order]
    first = first_of_runs(chosen).nonzero().squeeze(1)
    stays, leaves = losses[first + capacity - 1], losses[first + capacity]
    raised = torch.where(
        stays.isfinite(), (stays + leaves) / 2, _RAISE_WITHOUT_ALTERNATIVE * leaves
    )
    # Rows that would lose equally much cannot be separated by a price.
    raises = losses.new_zeros(n_prices)
    raises[chosen[first]] = raised.where(raised > leaves, 0)
    return raises


def _at(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]``; on a CPU, several times as fast."""
    return values.index_select(0, index.flatten()).view_as(index)


class _Choices:
    """The two cheapest candidates of each row, while prices rise.

    Parameters
    ----------
    where : Tensor of shape (n, n_candidates), int32
        Index of the price of each candidate.
    costs : Tensor of shape (n, n_candidates)
    prices : Tensor of shape (n_prices,), float64

    Attributes
    ----------
    first : Tensor of shape (n,), int32
        Index of the price of the cheapest candidate.
    losses : Tensor of shape (n,), float64
        What the second candidate costs more; infinite if there is none.
    """

    def __init__(self, where: Tensor, costs: Tensor, prices: Tensor) -> None:
        self._where, self._costs = where, costs
        self.first = where.new_empty(len(where))
        self._second = where.new_empty(len(where))
        self.losses = prices.new_empty(len(where))
        self._choose(torch.arange(len(where), device=where.device), prices)

    def update(self, prices: Tensor, risen: Tensor) -> None:
        """Choose again, where one of the two cheapest candidates has risen in price.

        A third candidate that gets more expensive changes nothing.

        Parameters
        ----------
        prices : Tensor of shape (n_prices,)
            None lower than before.
        risen : Tensor of shape (n_prices,), bool
            Which of them are higher than before.
        """
        again = _at(risen, self.first) | _at(risen, self._second)
        self._choose(again.nonzero().squeeze(1), prices)

    def _choose(self, rows: Tensor, prices: Tensor) -> None:
        for part in rows.split(_ROWS_AT_ONCE):
            where = self._where.index_select(0, part)
            totals = self._costs.index_select(0, part) + _at(prices, where)
            first = totals.argmin(1, keepdim=True)
            best = totals.gather(1, first)
            totals.scatter_(1, first, torch.inf)
            second = totals.argmin(1, keepdim=True)
            losses = (totals.gather(1, second) - best).squeeze(1)
            self.losses.index_copy_(0, part, losses)
            self.first.index_copy_(0, part, where.gather(1, first).squeeze(1))
            self._second.index_copy_(0, part, where.gather(1, second).squeeze(1))
