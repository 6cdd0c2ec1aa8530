from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from sk_rqvae._persistence.random_initialization import NoRandomNumbers


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(3, 4),
        lambda: torch.rand(3, 4, dtype=torch.float64),
        lambda: torch.randint(1, 5, (7,)),
        lambda: torch.randperm(6),
        lambda: torch.randn_like(torch.ones(2, 2)),
        lambda: torch.rand_like(torch.ones(2, 2), device="cpu"),
        lambda: torch.normal(1.0, 2.0, (3,)),
        lambda: torch.normal(torch.ones(3), torch.ones(3)),
        lambda: torch.bernoulli(torch.full((5,), 0.5)),
        lambda: torch.multinomial(torch.ones(5), 3),
        lambda: torch.empty(4).uniform_(1, 2),
        lambda: torch.empty(4).exponential_(),
        lambda: torch.empty(4).normal_(5, generator=torch.Generator()),
        lambda: torch.randn(4, generator=torch.Generator()),
        lambda: nn.init.kaiming_uniform_(torch.empty(4, 4)),
    ],
)
def test_random_numbers_are_zeros_and_no_generator_is_used(draw):
    expected = draw()
    before = torch.get_rng_state()
    with NoRandomNumbers():
        found = draw()
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.device == expected.device
    assert not found.any()


def test_other_operations_are_as_ever():
    with NoRandomNumbers():
        total = torch.arange(4).float() @ torch.ones(4)
        layer = nn.LayerNorm(3)
    assert total == 6
    assert torch.equal(layer.weight, torch.ones(3))


def test_other_threads_draw_as_ever():
    torch.manual_seed(0)
    expected = torch.randn(5)
    torch.manual_seed(0)
    drawn = []
    with NoRandomNumbers():
        thread = threading.Thread(target=lambda: drawn.append(torch.randn(5)))
        thread.start()
        thread.join()
    assert torch.equal(drawn[0], expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_zeros_lie_on_the_device_that_was_asked_for():
    with NoRandomNumbers():
        assert torch.randn(3, device="cuda").is_cuda
        assert torch.rand_like(torch.ones(3, device="cuda")).is_cuda
