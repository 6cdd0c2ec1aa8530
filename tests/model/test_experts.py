from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from conftest import new_generator
from hypothesis import given
from torch import nn

from sk_rqvae._initialization.experts import initialize_experts
from sk_rqvae._model.experts import ExpertBlocks, Experts

N_IN, N_OUT, N_EXPERTS = 5, 7, 4


@pytest.fixture
def experts():
    generator = new_generator()
    made = Experts(N_IN, N_OUT, N_EXPERTS, 6, nn.ReLU(inplace=True))
    for weights in (*made.parameters(), made.centres):
        weights.data.normal_(generator=generator)
    return made


def inputs(n=50):
    return torch.randn(n, N_IN, generator=new_generator())


def by_definition(experts, row):
    """The MLP of the expert whose centre has the largest product with the row."""
    e = int((experts.centres @ row).argmax())
    hidden = torch.relu(row @ experts.first.weight[e] + experts.first.bias[e])
    return hidden @ experts.last.weight[e] + experts.last.bias[e]


@pytest.mark.parametrize("training", [False, True])
def test_each_input_is_mapped_by_the_expert_of_its_direction(experts, training):
    experts.train(training)
    x = inputs()
    expected = torch.stack([by_definition(experts, row) for row in x])
    torch.testing.assert_close(experts(x), expected)
    assert len(experts.nearest(x).unique()) == N_EXPERTS


@pytest.mark.parametrize(
    "inputs_per_product", [0, 5, 10**6], ids=["groups", "both", "one product"]
)
def test_every_way_to_compute_experts_gives_the_same_outputs_and_gradients(
    experts, inputs_per_product, monkeypatch
):
    name = "sk_rqvae._model.experts._INPUTS_PER_PRODUCT"
    monkeypatch.setattr(name, inputs_per_product)
    x = inputs().requires_grad_()
    chosen = experts.nearest(x)
    outputs = [experts._in_groups(x, chosen), experts._by_all(x, chosen)]
    torch.testing.assert_close(*outputs)
    weights = [x, *experts.parameters()]
    gradients = [
        torch.autograd.grad(output.square().sum(), weights) for output in outputs
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_experts_that_no_input_needs_get_no_gradient(experts):
    x = inputs(1)
    experts(x).sum().backward()
    used = int(experts.nearest(x))
    gradient = experts.last.weight.grad
    unused = [expert for expert in range(N_EXPERTS) if expert != used]
    assert gradient[used].any()
    assert not gradient[unused].any()


@given(data=st.data())
def test_in_evaluation_an_output_does_not_depend_on_the_other_inputs(data):
    torch.manual_seed(0)
    experts = Experts(N_IN, N_OUT, N_EXPERTS, 6, nn.ReLU())
    experts.centres.normal_()
    experts.eval()
    x = torch.randn(data.draw(st.integers(1, 300)), N_IN)
    some = torch.tensor(
        data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=80))
    )
    with torch.no_grad():
        assert torch.equal(experts(x)[some], experts(x[some]))


chosen_experts = st.lists(st.integers(0, N_EXPERTS - 1), min_size=1, max_size=200)


@given(chosen_experts)
def test_every_block_holds_inputs_of_one_expert(chosen):
    chosen = torch.tensor(chosen)
    blocks = ExpertBlocks(chosen, N_EXPERTS, size=8)
    experts = blocks.expert.unsqueeze(1).expand(-1, 8)
    assert torch.equal(blocks.unpad(experts), chosen)


@given(chosen_experts, st.integers(1, 3))
def test_runs_of_blocks_hold_every_input_once(chosen, max_blocks):
    chosen = torch.tensor(chosen)
    numbers = torch.arange(1, len(chosen) + 1)
    blocks = ExpertBlocks(chosen, N_EXPERTS, size=8)
    padded = blocks.pad(numbers)
    assert torch.equal(blocks.unpad(padded), numbers)
    seen = []
    for expert, part in blocks.runs(max_blocks):
        held = padded[part][padded[part] > 0]
        assert part.stop - part.start <= max_blocks
        assert set(chosen[held - 1].tolist()) == {expert}
        seen += held.tolist()
    assert sorted(seen) == numbers.tolist()


def test_blocks_can_be_computed_together(experts):
    # As on a device that would have to wait for the index of each expert.
    x = torch.randn(6, 3, N_IN, generator=new_generator())
    index = torch.tensor([0, 3, 3, 1, 2, 0])
    one_by_one = [
        experts._expert(block, int(e)) for block, e in zip(x, index, strict=True)
    ]
    torch.testing.assert_close(experts._expert(x, index), torch.stack(one_by_one))


def test_longer_inputs_keep_their_expert(experts):
    x = inputs()
    assert torch.equal(experts.nearest(100 * x), experts.nearest(x))


def test_experts_share_the_latents_although_a_few_are_very_long(experts):
    latents = torch.randn(1000, N_IN, generator=new_generator())
    latents[:20] *= 100
    initialize_experts(experts, latents, new_generator())
    shares = experts.nearest(latents).bincount(minlength=N_EXPERTS) / len(latents)
    assert shares.min() > 0.1
    torch.testing.assert_close(experts.centres.norm(dim=1), torch.ones(N_EXPERTS))
