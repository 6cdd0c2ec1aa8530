"""Prices on IDs that several rows want, so that all but one take their next best."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from sk_rqvae._model.id_prices import PriceList, no_prices
from sk_rqvae._progress import ProgressCallback, no_progress

_ROUNDS = 100
_ROWS_AT_ONCE = 65536
_KEYS_A_SORT = 2**22
_WITHOUT_ALTERNATIVE = 1.5
_LEAST_KEY = -(2**63)


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
        IDs that each row could have. Overwritten: with millions of rows, copies would
        be the largest things in memory.
    costs : Tensor of shape (n, n_candidates), float32 or float64
        Error of the row under each.
    on_progress : ProgressCallback, default=no_progress
        Told of each round's share of the most there may be, at most 1 in all.
    max_error : float, default=inf
        Total error of what the rows choose, in the least there can be, above which
        all prices are dropped.

    Returns
    -------
    PriceList

    Notes
    -----
    In each round every row chooses the candidate of least cost plus price. Where
    several choose one ID, the one that would lose most by leaving stays: the price
    rises to between its loss and the next row's, so the others leave. Rows whose
    candidates and costs are equal, exact duplicates, stay together. Prices only rise;
    after `_ROUNDS` rounds what is still shared stays shared.

    References
    ----------
    Bertsekas (1988), "The auction algorithm: a distributed relaxation method for the
    assignment problem".
    """
    wanted = _wanted_twice(keys)
    where = _places(wanted, keys)
    # The last price, always zero, is that of all IDs that one row alone wants.
    prices = torch.zeros(len(wanted) + 1, dtype=torch.float64, device=keys.device)
    for _ in range(_ROUNDS):
        raise_by = _raises(where, costs, prices)
        if not bool((raise_by > 0).any()):
            break
        prices += raise_by
        on_progress(1 / _ROUNDS)
    free = torch.zeros_like(prices)
    paid, least = (_total_error(where, costs, these) for these in (prices, free))
    if paid > max_error * least:
        return no_prices(keys.device)
    priced = prices[:-1] > 0
    return PriceList(wanted[priced], prices[:-1][priced])


def _wanted_twice(keys: Tensor) -> Tensor:
    """Keys that are there more than once, ascending, found a range at a time."""
    n_ranges = -(-keys.numel() // _KEYS_A_SORT)
    edges = [_LEAST_KEY + 2**64 * part // n_ranges for part in range(1, n_ranges)]
    found = []
    for low, high in itertools.pairwise([_LEAST_KEY, *edges, -_LEAST_KEY - 1]):
        inside = keys[(keys >= low) & (keys < high)]
        each, count = torch.unique(inside, return_counts=True)
        found.append(each[count > 1])
    return torch.cat(found)


def _places(wanted: Tensor, keys: Tensor) -> Tensor:
    """Replace keys by where they are in `wanted`, or by its length if they are not."""
    if len(wanted) == 0:
        return keys.zero_()
    for block in keys.split(_ROWS_AT_ONCE):
        place = torch.searchsorted(wanted, block)
        known = wanted[place.clamp_max(len(wanted) - 1)] == block
        block.copy_(torch.where(known, place, len(wanted)))
    return keys


def _total_error(where: Tensor, costs: Tensor, prices: Tensor) -> float:
    """Sum of the errors, prices apart, of what the rows choose."""
    total = 0.0
    for place, cost in zip(
        where.split(_ROWS_AT_ONCE), costs.split(_ROWS_AT_ONCE), strict=True
    ):
        chosen = (cost + prices[place]).argmin(1, keepdim=True)
        total += float(cost.gather(1, chosen).double().clamp_min(0).sum())
    return total


def _raises(where: Tensor, costs: Tensor, prices: Tensor) -> Tensor:
    """What to add to each ID's price, given what the rows choose at `prices`."""
    losses, chosen = _choices(where, costs, prices)
    n_takers = torch.bincount(chosen, minlength=len(prices))
    n_takers[-1] = 0
    shared = n_takers[chosen] > 1
    losses, chosen = losses[shared], chosen[shared]
    order = losses.argsort(descending=True, stable=True)
    order = order[chosen[order].argsort(stable=True)]
    ranked, loss = chosen[order], losses[order]
    is_second = ranked[1:] == ranked[:-1]
    is_second[1:] &= ranked[2:] != ranked[:-2]
    runner_up = is_second.nonzero().squeeze(1) + 1
    upper, lower = loss[runner_up - 1], loss[runner_up]
    raised = torch.where(
        upper.isfinite(), (upper + lower) / 2, _WITHOUT_ALTERNATIVE * lower
    )
    separable = (lower < upper) & lower.isfinite() & (raised > lower)
    raise_by = torch.zeros_like(prices)
    raise_by[ranked[runner_up[separable]]] = raised[separable]
    return raise_by


def _choices(where: Tensor, costs: Tensor, prices: Tensor) -> tuple[Tensor, Tensor]:
    """What each row would lose by leaving the ID it chooses, and that ID."""
    losses, chosen = [], []
    for place, cost in zip(
        where.split(_ROWS_AT_ONCE), costs.split(_ROWS_AT_ONCE), strict=True
    ):
        charged = cost + prices[place]
        best, second = _two_smallest(charged)
        losses.append(second - best)
        chosen.append(place.gather(1, charged.argmin(1, keepdim=True)).squeeze(1))
    return torch.cat(losses), torch.cat(chosen)


def _two_smallest(values: Tensor) -> tuple[Tensor, Tensor]:
    if values.shape[1] == 1:
        return values[:, 0], torch.full_like(values[:, 0], torch.inf)
    smallest = values.topk(2, dim=1, largest=False).values
    return smallest[:, 0], smallest[:, 1]
