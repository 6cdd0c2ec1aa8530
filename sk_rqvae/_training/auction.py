"""An auction that finds prices at which rows choose different IDs."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from sk_rqvae._model.id_prices import PriceList
from sk_rqvae._progress import ProgressCallback, no_progress

_ROUNDS = 100
_ROWS_AT_ONCE = 65536
_KEYS_PER_SORT = 2**22
_RAISE_WITHOUT_ALTERNATIVE = 1.5
_MIN_KEY = -(2**63)


@torch.no_grad()
def auction(
    keys: Tensor,
    costs: Tensor,
    on_progress: ProgressCallback = no_progress,
    *,
    max_error: float = math.inf,
) -> PriceList:
    """Find prices at which rows choose different IDs.

    Parameters
    ----------
    keys : Tensor of shape (n, n_candidates), int64
        Candidate IDs of each row. Overwritten, to save the memory of a copy.
    costs : Tensor of shape (n, n_candidates), float32 or float64
        Error of the row under each candidate.
    on_progress : ProgressCallback
        Called after each round with its share of 1, and not for rounds saved.
    max_error : float, default=inf
        Largest total error of the chosen candidates, relative to the smallest possible
        total. The cheapest separations are kept until this limit.

    Returns
    -------
    PriceList

    Notes
    -----
    1. In each round, every row chooses the candidate of least cost plus price.
    2. If several rows choose one ID, its price rises. The row that would lose most by
       leaving stays; the new price lies between its loss and that of the second row,
       so that all others leave.
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
    wanted = _wanted_twice(keys)
    where = _positions(wanted, keys)
    # The last price, always zero, is that of all IDs that one row alone wants.
    prices = torch.zeros(len(wanted) + 1, dtype=torch.float64, device=keys.device)
    choices = _Choices(where, costs, prices)
    for _ in range(_ROUNDS):
        raise_by = _raises(choices, len(prices))
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


def _wanted_twice(keys: Tensor) -> Tensor:
    """Keys that occur more than once, ascending; found one range of keys at a time."""
    n_ranges = -(-keys.numel() // _KEYS_PER_SORT)
    edges = [_MIN_KEY + 2**64 * part // n_ranges for part in range(1, n_ranges)]
    found = []
    for low, high in itertools.pairwise([_MIN_KEY, *edges, -_MIN_KEY - 1]):
        inside = keys[(keys >= low) & (keys < high)]
        each, count = torch.unique(inside, return_counts=True)
        found.append(each[count > 1])
    return torch.cat(found)


def _positions(wanted: Tensor, keys: Tensor) -> Tensor:
    """Replace keys by their indices in `wanted`, or by its length if not in it."""
    if len(wanted) == 0:
        return keys.zero_()
    for block in keys.split(_ROWS_AT_ONCE):
        position = torch.searchsorted(wanted, block)
        known = wanted[position.clamp_max(len(wanted) - 1)] == block
        block.copy_(torch.where(known, position, len(wanted)))
    return keys


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
        chosen = (cost + prices[position]).argmin(1, keepdim=True)
        total += float(cost.gather(1, chosen).double().clamp_min(0).sum())
    return total


def _raises(choices: _Choices, n_prices: int) -> Tensor:
    """Increase of the price of each ID, given the choices of all rows."""
    n_takers = torch.bincount(choices.first, minlength=n_prices)
    n_takers[-1] = 0
    shared = n_takers[choices.first] > 1
    chosen, losses = choices.first[shared], choices.losses[shared]
    upper = _largest(losses, chosen, n_prices)
    is_upper = losses == upper[chosen]
    lower = _largest(losses[~is_upper], chosen[~is_upper], n_prices)
    # Rows that would lose equally much cannot be separated by a price.
    n_upper = torch.bincount(chosen[is_upper], minlength=n_prices)
    lower = torch.where(n_upper > 1, upper, lower)
    raised = torch.where(
        upper.isfinite(), (upper + lower) / 2, _RAISE_WITHOUT_ALTERNATIVE * lower
    )
    separable = (lower < upper) & lower.isfinite() & (raised > lower)
    return raised.where(separable, 0)


def _largest(values: Tensor, ids: Tensor, n_ids: int) -> Tensor:
    """Largest value of each ID, minus infinity where there is none."""
    largest = values.new_full((n_ids,), -torch.inf)
    return largest.scatter_reduce_(0, ids, values, "amax")


class _Choices:
    """The two cheapest candidates of each row, while prices rise.

    Parameters
    ----------
    where : Tensor of shape (n, n_candidates), int64
        Index of the price of each candidate.
    costs : Tensor of shape (n, n_candidates)
    prices : Tensor of shape (n_prices,), float64

    Attributes
    ----------
    first : Tensor of shape (n,), int64
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
        again = risen[self.first] | risen[self._second]
        self._choose(again.nonzero().squeeze(1), prices)

    def _choose(self, rows: Tensor, prices: Tensor) -> None:
        for part in rows.split(_ROWS_AT_ONCE):
            where = self._where[part]
            totals = self._costs[part] + prices[where]
            first = totals.argmin(1, keepdim=True)
            best = totals.gather(1, first)
            totals.scatter_(1, first, torch.inf)
            second = totals.argmin(1, keepdim=True)
            self.losses[part] = (totals.gather(1, second) - best).squeeze(1)
            self.first[part] = where.gather(1, first).squeeze(1)
            self._second[part] = where.gather(1, second).squeeze(1)
