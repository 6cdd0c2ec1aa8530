from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

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
    "poisson": lambda: torch.poisson(torch.full((20,), 9.0)),
    "binomial": lambda: torch.binomial(torch.full((20,), 90.0), torch.tensor(0.5)),
    "gamma": lambda: torch.distributions.Gamma(2.0, 1.0).sample((5,)),
    "dirichlet": lambda: torch.distributions.Dirichlet(torch.ones(5)).sample(),
    "categories": lambda: torch.distributions.Categorical(torch.ones(9)).sample((9,)),
    "dropout": lambda: F.dropout(torch.ones(50), 0.5),
    "dropout layer": lambda: nn.Dropout(0.5)(torch.ones(50)),
    "dropout of torch": lambda: torch.dropout(torch.ones(50), 0.5, train=True),
    "dropout in place": lambda: F.dropout(torch.ones(50), 0.5, inplace=True),
    "dropout in place of torch": lambda: torch.dropout_(torch.ones(50), 0.5, True),
    "gumbel softmax": lambda: F.gumbel_softmax(torch.ones(4, 5), hard=True),
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


def test_dropout_and_gumbel_softmax_do_what_those_of_pytorch_do():
    logits = torch.tensor([1.0, 0.0, -1.0]).log_softmax(0)
    with PrivateGenerator(seed=0):
        dropped = F.dropout(torch.ones(100_000), 0.25)
        hard = F.gumbel_softmax(logits.expand(100_000, 3), hard=True)
        soft = F.gumbel_softmax(logits.expand(9, 3), tau=0.5)
        assert F.dropout(dropped, 0.5, training=False) is dropped
        assert not F.dropout(torch.ones(9), 1.0).any()
    torch.testing.assert_close(dropped.unique(), torch.tensor([0, 4 / 3]))
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(hard.mean(0), logits.exp(), atol=0.01, rtol=0)
    torch.testing.assert_close(soft.sum(1), torch.ones(9))


def test_gradients_pass_dropout_and_gumbel_softmax():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    with PrivateGenerator(seed=0):
        (F.gumbel_softmax(F.dropout(x, 0.1), hard=True) * x.detach()).sum().backward()
    assert x.grad.abs().sum() > 0


def test_generators_that_are_given_draw_on_their_devices():
    generator = torch.Generator().manual_seed(5)
    with PrivateGenerator(seed=0, generators=[generator]):
        found = torch.randn(3)
    assert torch.equal(found, torch.randn(3, generator=generator.manual_seed(5)))
