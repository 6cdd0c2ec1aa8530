from __future__ import annotations

import numpy as np
import torch

from sk_rqvae._training import id_discounts
from sk_rqvae._training.id_discounts import discounts_for_lighter_rows


def discounts(keys, costs, weights, **others):
    found, error = discounts_for_lighter_rows(
        torch.tensor(keys),
        torch.tensor(costs, dtype=torch.float64),
        torch.tensor(weights, dtype=torch.float64),
        **others,
    )
    return dict(zip(found.keys.tolist(), found.prices.tolist(), strict=True)), error


def test_rows_without_errors_get_discounts():
    found, error = discounts([[1, 2], [1, 3]], [[0, 1], [0, 1]], [1.5, 0.5])
    assert list(found) == [3]
    assert error == 1.0


def test_the_cheapest_moves_are_paid_for():
    keys = [[1, 2], [1, 3], [4, 5], [4, 6]]
    costs = [[1, 9], [1, 2], [1, 9], [1, 1.1]]
    found, _ = discounts(keys, costs, [1.5, 0.5, 1.5, 0.5], max_error=1.05)
    assert list(found) == [6]


def test_of_equally_heavy_rows_the_one_that_loses_most_keeps_the_id():
    found, _ = discounts([[1, 2], [1, 3]], [[1, 5], [1, 2]], [1.0, 1.0])
    assert list(found) == [3]
    found, _ = discounts([[1, 2], [1, 3]], [[1, 2], [1, 5]], [1.0, 1.0])
    assert list(found) == [2]


def test_a_discount_moves_no_second_row():
    # The row of 9 would lose 1.005 by the move to 3.
    keys, costs = [[1, 2], [1, 3], [9, 3]], [[10, 90], [10, 11], [10, 11.005]]
    found, _ = discounts(keys, costs, [1.5, 0.5, 1.0])
    assert -1.005 < found[3] < -1


def test_a_discount_is_no_larger_than_it_must_be():
    found, _ = discounts([[1, 2], [1, 3]], [[10, 90], [10, 11]], [1.5, 0.5])
    assert -1.1 < found[3] < -1


def test_an_id_that_one_row_wants_is_offered_whatever_other_ids_cost():
    # Only the second row could take 3, and no row but the fourth 6, for less.
    found, _ = discounts_for_lighter_rows(
        torch.tensor([[1, 2], [1, 3], [5, 7], [5, 6]]),
        torch.tensor([[0.0, 9.0], [0.0, 3.0], [0.0, 9.0], [0.0, 1.0]]).double(),
        torch.tensor([1.5, 0.5, 1.5, 0.5]).double(),
    )
    assert found.keys.tolist() == [3, 6]


def test_discounts_do_not_depend_on_the_block_size(monkeypatch):
    rng = np.random.default_rng(0)
    keys = torch.from_numpy(np.stack([rng.permutation(40)[:4] for _ in range(30)]))
    costs = torch.from_numpy(np.sort(rng.random((30, 4)), axis=1))
    weights = torch.from_numpy(rng.random(30))
    weights /= weights.mean()
    whole, _ = discounts_for_lighter_rows(keys, costs, weights)
    monkeypatch.setattr(id_discounts, "_ROWS_AT_ONCE", 7)
    blocks, _ = discounts_for_lighter_rows(keys, costs, weights)
    assert len(whole.keys)
    assert torch.equal(whole.keys, blocks.keys)
    assert torch.equal(whole.prices, blocks.prices)
