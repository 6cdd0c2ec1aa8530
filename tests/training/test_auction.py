from __future__ import annotations

import math

import numpy as np
import torch

from sk_rqvae._model.id_prices import id_keys
from sk_rqvae._training.auction import _Choices, auction


def test_a_limit_that_is_kept_changes_no_price():
    rng = np.random.default_rng(0)
    keys = torch.from_numpy(np.stack([rng.permutation(8)[:3] for _ in range(8)]))
    costs = torch.from_numpy(np.sort(rng.random((8, 3)), axis=1))
    free, limited = (
        auction([keys.clone()], costs, max_error=m) for m in (math.inf, 1e6)
    )
    assert len(free.prices) > 0
    assert torch.equal(free.prices, limited.prices)


def test_losses_know_of_a_second_candidate_that_rose():
    where = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    costs = torch.tensor([[0.0, 1.0, 9.0]])
    prices = torch.zeros(4, dtype=torch.float64)
    choices = _Choices(where, costs, prices)
    prices[1] = 3
    choices.update(prices, prices > 0)
    assert choices.losses.tolist() == [4.0]


def test_keys_of_ids_are_those_that_saved_models_have():
    codes = torch.tensor([[0, 0, 0], [1, 2, 3]])
    assert id_keys(codes).tolist() == [-2466279622846591493, -2936584358078648871]
