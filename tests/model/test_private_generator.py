from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from sk_rqvae._model.private_generator import PrivateGenerator

DRAWS = {
    "randn": lambda: torch.randn(3, 4),
    "rand": lambda: torch.rand(3, 4, dtype=torch.float64),
    "randint": lambda: torch.randint(1, 50, (70,)),
    "randperm": lambda: torch.randperm(60),
    "randn_like": lambda: torch.randn_like(torch.ones(2, 2)),
    "rand_like": lambda: torch.rand_like(torch.ones(2, 2), device="cpu"),
    "normal of numbers": lambda: torch.normal(1.0, 2.0, (3,)),
    "normal of tensors": lambda: torch.normal(torch.ones(3), torch.ones(3)),
    "bernoulli": lambda: torch.bernoulli(torch.full((50,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(50), 30),
    "uniform_": lambda: torch.empty(4).uniform_(1, 2),
    "exponential_": lambda: torch.empty(4).exponential_(),
    "normal_": lambda: torch.empty(4).normal_(5),
    "random_": lambda: torch.empty(4).random_(),
    "linear layer": lambda: nn.Linear(4, 5).weight,
    "embedding": lambda: nn.Embedding(4, 5).weight,
    "convolution": lambda: nn.Conv1d(2, 3, 4).weight,
    "recurrent layer": lambda: nn.GRU(2, 3).weight_hh_l0,
    "xavier": lambda: nn.init.xavier_uniform_(torch.empty(4, 4)),
    "kaiming": lambda: nn.init.kaiming_normal_(torch.empty(4, 4)),
    "truncated": lambda: nn.init.trunc_normal_(torch.empty(4, 4), a=1, b=2),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(4, 4)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_random_numbers_depend_on_the_seed_alone_and_not_on_the_global_generator(draw):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with PrivateGenerator(seed=0):
        first = draw()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    with PrivateGenerator(seed=0):
        second = draw()
    assert torch.equal(first, second)


def test_two_seeds_and_two_draws_differ():
    with PrivateGenerator(seed=0):
        first, second = torch.randn(5), torch.randn(5)
    with PrivateGenerator(seed=1):
        other = torch.randn(5)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_an_explicit_generator_is_used():
    expected = torch.randn(5, generator=torch.Generator().manual_seed(3))
    with PrivateGenerator(seed=0):
        found = torch.randn(5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found, expected)


def test_other_threads_draw_from_the_global_generator():
    torch.manual_seed(0)
    expected = torch.randn(5)
    torch.manual_seed(0)
    drawn = []
    with PrivateGenerator(seed=1):
        thread = threading.Thread(target=lambda: drawn.append(torch.randn(5)))
        thread.start()
        thread.join()
    assert torch.equal(drawn[0], expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_numbers_on_cuda_do_not_change_its_global_generator():
    before = torch.cuda.get_rng_state()
    with PrivateGenerator(seed=0), torch.device("cuda"):
        assert nn.Linear(3, 4).weight.is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), before)
