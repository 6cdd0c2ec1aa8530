"""Discounts on free IDs, which lighter rows then choose instead of a shared one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sk_rqvae._model.id_prices import PriceList
from sk_rqvae._training.runs import first_of_runs

_ROWS_AT_ONCE = 65536
# A discount exceeds the loss that it makes up for by this share of the error: far above
# rounding, and small beside the error.
_MARGIN = 1e-3


class _Offers(NamedTuple):
    """IDs that one row alone would choose at a discount.

    `loss` is what the row loses by the move, and `limit` the discount at which a second
    row would move too.
    """

    key: Tensor
    row: Tensor
    loss: Tensor
    limit: Tensor


@torch.no_grad()
def discounts_for_lighter_rows(
    keys: Tensor, costs: Tensor, weights: Tensor, *, max_error: float = math.inf
) -> tuple[PriceList, float]:
    """Find discounts at which the heaviest row of each shared ID keeps it.

    A price on the shared ID would move the rows that lose least by leaving it. It
    cannot spare heavy ones, since `assign` does not see weights. A discount on a free
    ID can attract one chosen row.

    Parameters
    ----------
    keys : Tensor of shape (n, n_candidates), int64
        Candidate IDs of each row.
    costs : Tensor of shape (n, n_candidates), float64
        Error of the row under each candidate.
    weights : Tensor of shape (n,), float64
        Positive, with a mean of 1.
    max_error : float, default=inf
        Largest weighted error of the chosen candidates, relative to that without
        discounts. The cheapest moves are kept until this limit.

    Returns
    -------
    discounts : PriceList
        Negative prices.
    error : float
        The weighted error with these discounts, relative to that without.

    Notes
    -----
    1. Every row chooses the candidate of least cost. If several choose one ID, the
       heaviest keeps it; of equally heavy ones that which would lose most by leaving.
    2. An ID that no row chooses can be offered to the row that would lose least by
       choosing it: with a discount between its loss and that of the second row, this
       row chooses the ID and no other row does.
    3. Each row that shall leave takes the offer at which it loses least. Discounts
       do not interact, since none exceeds the loss of a row that shall stay.

    A row that shall leave and has no offer stays where it is.
    """
    best, chosen = costs.min(1)
    base = best.clamp_min(0)
    leaving = _leaving(keys.gather(1, chosen.unsqueeze(1)).squeeze(1), costs, weights)
    offers = _offers(keys, costs, best, leaving)
    offers = _best_for_each_row(offers)
    total = (weights * base).sum()
    extra = weights[offers.row] * offers.loss
    order = extra.argsort(stable=True)
    taken = order
    if max_error < math.inf:
        # CUDA sums floats in this way in no fixed order.
        paid = extra[order].cpu().cumsum(0).to(extra.device)
        taken = order[paid <= (max_error - 1) * total]
    loss = offers.loss[taken]
    enough = loss + _MARGIN * (loss + base[offers.row[taken]])
    discount = enough.minimum((loss + offers.limit[taken]) / 2)
    sorted_keys, by_key = offers.key[taken].sort()
    error = 1 + float(extra[taken].sum() / total) if total > 0 else 1.0
    return PriceList(sorted_keys, -discount[by_key]), error


def _leaving(chosen: Tensor, costs: Tensor, weights: Tensor) -> Tensor:
    """Rows that share their ID with a heavier one, as a mask."""
    _, group, n_takers = torch.unique(chosen, return_inverse=True, return_counts=True)
    smallest = costs.topk(min(2, costs.shape[1]), dim=1, largest=False).values
    loss = smallest[:, -1] - smallest[:, 0]
    order = loss.argsort(descending=True, stable=True)
    order = order[weights[order].argsort(descending=True, stable=True)]
    order = order[group[order].argsort(stable=True)]
    keeps = torch.zeros_like(order, dtype=torch.bool)
    keeps[order] = first_of_runs(group[order])
    return (n_takers[group] > 1) & ~keeps


def _offers(keys: Tensor, costs: Tensor, best: Tensor, leaving: Tensor) -> _Offers:
    """What can be offered to the rows that shall leave, in ascending order of loss."""
    wanted = torch.unique(keys[leaving])
    position, row, loss = _takers(wanted, keys, costs, best)
    order = loss.argsort(stable=True)
    order = order[position[order].argsort(stable=True)]
    position, row, loss = position[order], row[order], loss[order]
    is_first = first_of_runs(position)
    limit = torch.full_like(loss, torch.inf)
    limit[:-1] = torch.where(is_first[1:], torch.inf, loss[1:])
    usable = is_first & leaving[row] & (loss < limit)
    order = loss[usable].argsort(stable=True)
    return _Offers(
        *(values[usable][order] for values in (wanted[position], row, loss, limit))
    )


def _takers(
    wanted: Tensor, keys: Tensor, costs: Tensor, best: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All rows that could take one of the IDs.

    Parameters
    ----------
    wanted : Tensor of shape (m,), int64
        Keys of the IDs, ascending.
    keys : Tensor of shape (n, n_candidates), int64
    costs : Tensor of shape (n, n_candidates), float64
    best : Tensor of shape (n,), float64
        The least cost of each row.

    Returns
    -------
    position : Tensor of shape (k,), int64
        Of the ID in `wanted`.
    row : Tensor of shape (k,), int64
    loss : Tensor of shape (k,), float64
        What the row loses by taking the ID.
    """
    positions, rows, found = [wanted[:0]], [wanted[:0]], [best[:0]]
    for start in range(0, len(keys) if len(wanted) else 0, _ROWS_AT_ONCE):
        block = keys[start : start + _ROWS_AT_ONCE]
        position = torch.searchsorted(wanted, block).clamp_max(len(wanted) - 1)
        row, column = (wanted[position] == block).nonzero(as_tuple=True)
        positions.append(position[row, column])
        row += start
        rows.append(row)
        found.append(costs[row, column] - best[row])
    return torch.cat(positions), torch.cat(rows), torch.cat(found)


def _best_for_each_row(offers: _Offers) -> _Offers:
    """The first offer of each row."""
    order = offers.row.argsort(stable=True)
    kept = order[first_of_runs(offers.row[order])]
    return _Offers(*(values[kept] for values in offers))
