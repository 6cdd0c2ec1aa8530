"""Tables that are kept between calls of `transform`."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from conftest import small

from sk_rqvae._model import autoencoder, kept_tables
from sk_rqvae._model.id_decoder import TabulatedDecoder


@pytest.fixture(scope="module")
def fitted(blobs):
    return small(n_experts=2, separate_ids=True).fit(blobs)


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


@pytest.fixture
def made(monkeypatch):
    """All tables that are computed."""
    tables = []

    def noted(*args):
        tables.append(TabulatedDecoder(*args))
        return tables[-1]

    monkeypatch.setattr(autoencoder, "TabulatedDecoder", noted)
    return tables


def write_in_place(module):
    with torch.no_grad():
        module.decoder.linear.weight.mul_(-1)


def write_through_data(module):
    module.decoder.experts.last.weight.data.mul_(-3)


def write_to_memory_of_an_array(module):
    module.decoder.linear.weight.detach().numpy()[:] *= -1


def replace_a_parameter(module):
    weight = module.decoder.mlp[0].weight
    module.decoder.mlp[0].weight = torch.nn.Parameter(5 - weight.detach())


def write_codes(module):
    with torch.no_grad():
        for parameter in module.quantizer.parameters():
            parameter.copy_(parameter.flip(0) + 0.5)


def replace_activations(module):
    module.decoder.mlp[1] = module.decoder.experts.activation = torch.nn.Softplus()


def load_weights(module):
    state = module.state_dict()
    state["decoder.linear.weight"] = -state["decoder.linear.weight"]
    module.load_state_dict(state)


def test_later_calls_use_the_tables_of_the_first(model, blobs, made):
    first = model.transform(blobs)
    np.testing.assert_array_equal(model.transform(blobs), first)
    np.testing.assert_array_equal(model.transform(blobs[3:4]), first[3:4])
    best, _ = model.candidates(blobs, 40)
    assert len(made) == 1
    np.testing.assert_array_equal(copy.deepcopy(model).candidates(blobs, 40)[0], best)
    assert len(made) == 2


@pytest.mark.parametrize(
    "change",
    [
        write_in_place,
        write_through_data,
        write_to_memory_of_an_array,
        replace_a_parameter,
        replace_activations,
        write_codes,
        load_weights,
    ],
)
def test_changed_weights_are_those_that_count(model, blobs, change):
    before = model.transform(blobs)
    module = model.net_.module_
    change(module)
    without_tables = pickle.loads(pickle.dumps(model))
    codes = model.transform(blobs)
    assert (codes != before).any()
    np.testing.assert_array_equal(codes, without_tables.transform(blobs))


def test_tables_do_not_follow_memory_that_the_weights_no_longer_use(blobs):
    model = small(max_epochs=1, n_experts=2, decoder_hidden_dims=()).fit(blobs)
    expected = model.transform(blobs)
    weight = model.net_.module_.decoder.experts.last.weight
    earlier = weight.data
    weight.data = earlier.clone()
    earlier.fill_(100)
    np.testing.assert_array_equal(model.transform(blobs), expected)


@pytest.mark.parametrize(
    ("name", "value"), [("rerank", False), ("quantizer.n_beams", 2)]
)
def test_changed_settings_of_the_search_are_those_that_count(model, blobs, name, value):
    before = model.transform(blobs)
    *path, attribute = name.split(".")
    module = model.net_.module_
    setattr(module.get_submodule(".".join(path)), attribute, value)
    without_tables = pickle.loads(pickle.dumps(model))
    codes = model.transform(blobs)
    assert (codes != before).any()
    np.testing.assert_array_equal(codes, without_tables.transform(blobs))


def test_another_precision_of_products_gets_tables_of_its_own(model, blobs, made):
    model.transform(blobs)
    torch.set_float32_matmul_precision("medium")
    try:
        model.transform(blobs)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(made) == 2


def test_copies_and_pickles_do_not_hold_tables(model, blobs, made):
    before = len(pickle.dumps(model))
    model.transform(blobs)
    assert len(pickle.dumps(model)) == before
    assert len(made) == 1
    copy.deepcopy(model).transform(blobs)
    assert len(made) == 2


def test_large_tables_are_not_kept(model, blobs, made, monkeypatch):
    first = model.transform(blobs)
    (tables,) = made
    module = model.net_.module_
    weights = [
        *module.decoder.state_dict().values(),
        *module.quantizer.codebooks(),
        module.input_mean,
        module.input_scale,
    ]
    limit = tables.max_bytes + sum(each.nbytes for each in weights)
    for max_bytes, n_made in [(limit, 2), (limit - 1, 4), (1, 6)]:
        monkeypatch.setattr(kept_tables, "_MAX_BYTES", max_bytes)
        new = copy.deepcopy(model)
        np.testing.assert_array_equal(new.transform(blobs), first)
        np.testing.assert_array_equal(new.transform(blobs), first)
        assert len(made) == n_made


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_experts": 3},
        {"n_experts": 3, "decoder_hidden_dims": ()},
        {"n_experts": 3, "decoder_hidden_dims": (32, 4)},
        {"n_experts": 3, "decoder_hidden_dims": (4, 32)},
        {"n_experts": 0, "decoder_hidden_dims": (8, 8)},
        {"n_layers": 1},
    ],
)
def test_tables_take_no_more_memory_than_was_counted(blobs, made, changes):
    model = small(max_epochs=1, separate_ids=False, **changes).fit(blobs)
    made.clear()
    model.transform(blobs)
    (tables,) = made
    held = bytes_of(tables, but_not_of=model.net_.module_)
    assert 0.5 * tables.max_bytes < held <= tables.max_bytes


def bytes_of(tables, *, but_not_of):
    """Memory of the real numbers that can be reached, except those of the module."""
    seen = {
        each.untyped_storage().data_ptr() for each in but_not_of.state_dict().values()
    }
    total, found = 0, [tables]
    while found:
        each = found.pop()
        if isinstance(each, torch.Tensor):
            memory = each.untyped_storage()
            if each.is_floating_point() and memory.data_ptr() not in seen:
                seen.add(memory.data_ptr())
                total += memory.nbytes()
        elif isinstance(each, dict):
            found += each.values()
        elif isinstance(each, list | tuple):
            found += each
        elif "sk_rqvae" in type(each).__module__ and hasattr(each, "__dict__"):
            found += vars(each).values()
    return total


def test_threads_share_tables_between_changes_of_weights(model, blobs):
    first = model.transform(blobs)
    other = pickle.loads(pickle.dumps(model))
    write_in_place(other.net_.module_)
    second = other.transform(blobs)
    results = []

    def work():
        results.append(model.transform(blobs))

    for _ in range(5):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected, first, second = first, second, first
        assert len(results) == 4
        for codes in results:
            np.testing.assert_array_equal(codes, expected)
        results.clear()
        write_in_place(model.net_.module_)


def test_tables_follow_the_number_of_binary_columns(blobs):
    rows = np.hstack([blobs, blobs[:, :2] > 0])
    model = small(n_cat_features=2, max_epochs=1).fit(rows)
    model.transform(rows)
    model.net_.module_.n_cat_features = 0
    expected = copy.deepcopy(model).transform(rows)
    np.testing.assert_array_equal(model.transform(rows), expected)
