"""Tables that are kept between calls of `transform`."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from conftest import small

from sk_rqvae._model import kept_tables
from sk_rqvae._model.assignment import IDAssignment


@pytest.fixture(scope="module")
def fitted(blobs):
    return small(n_experts=2, separate_ids=True).fit(blobs)


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


@pytest.fixture
def preparations(monkeypatch):
    """The arguments of every call that computes tables."""
    calls = []
    prepare = IDAssignment.prepare

    def counted(self, *args):
        calls.append(args)
        return prepare(self, *args)

    monkeypatch.setattr(IDAssignment, "prepare", counted)
    return calls


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


def load_weights(module):
    state = module.state_dict()
    state["decoder.linear.weight"] = -state["decoder.linear.weight"]
    module.load_state_dict(state)


def test_later_calls_use_the_tables_of_the_first(model, blobs, preparations):
    first = model.transform(blobs)
    np.testing.assert_array_equal(model.transform(blobs), first)
    np.testing.assert_array_equal(model.transform(blobs[3:4]), first[3:4])
    assert len(preparations) == 1


@pytest.mark.parametrize(
    "change",
    [
        write_in_place,
        write_through_data,
        write_to_memory_of_an_array,
        replace_a_parameter,
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


@pytest.mark.parametrize("changes", [{"rerank": False}, {"n_beams": 1}])
def test_nothing_is_kept_where_no_candidate_is_decoded(blobs, preparations, changes):
    model = small(max_epochs=1, separate_ids=False, **changes).fit(blobs)
    model.transform(blobs)
    model.transform(blobs)
    assert len(preparations) == 2


@pytest.mark.parametrize(
    ("name", "value"), [("rerank", False), ("quantizer.n_beams", 2)]
)
def test_changed_settings_of_the_search_are_those_that_count(
    model, blobs, name, value, preparations
):
    model.transform(blobs)
    *path, attribute = name.split(".")
    module = model.net_.module_
    setattr(module.get_submodule(".".join(path)), attribute, value)
    model.transform(blobs)
    assert len(preparations) == 2


def test_more_candidates_get_tables_of_their_own(model, blobs, preparations):
    codes = model.transform(blobs)
    assert model.candidates(blobs, 40)[0].shape == (len(blobs), 40, 3)
    np.testing.assert_array_equal(model.transform(blobs), codes)
    assert preparations == [(1,), (40,), (1,)]


def test_copies_and_pickles_do_not_hold_tables(model, blobs):
    before = len(pickle.dumps(model))
    model.transform(blobs)
    assert len(pickle.dumps(model)) == before
    assert len(pickle.dumps(copy.deepcopy(model))) == before


def test_large_tables_are_not_kept(model, blobs, preparations, monkeypatch):
    monkeypatch.setattr(kept_tables, "_MAX_VALUES", 1000)
    first = model.transform(blobs)
    np.testing.assert_array_equal(model.transform(blobs), first)
    assert len(preparations) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_experts": 3},
        {"n_experts": 3, "decoder_hidden_dims": ()},
        {"n_experts": 0, "decoder_hidden_dims": (8, 8)},
        {"linear_path": False},
        {"n_layers": 1},
        {"n_beams": 1},
    ],
)
def test_no_more_numbers_are_held_than_were_counted(blobs, changes):
    model = small(max_epochs=1, **changes).fit(blobs)
    prepared = model.net_.module_.prepare_once()
    model.transform(blobs)
    assert n_values(prepared, of_module=model.net_.module_) <= prepared.max_values


def n_values(prepared, *, of_module):
    """Real numbers that can be reached, except those of the module."""
    seen = {each.data_ptr() for each in of_module.state_dict().values()}
    total, found = 0, [prepared]
    while found:
        each = found.pop()
        if isinstance(each, torch.Tensor):
            memory = each.untyped_storage()
            if each.is_floating_point() and memory.data_ptr() not in seen:
                seen.add(memory.data_ptr())
                total += memory.nbytes() // each.element_size()
        elif isinstance(each, dict):
            found += each.values()
        elif isinstance(each, list | tuple):
            found += each
        elif type(each).__module__.startswith("sk_rqvae"):
            found += vars(each).values() if hasattr(each, "__dict__") else ()
    return total


def test_tables_of_inference_mode_serve_outside_of_it(model, blobs, preparations):
    with torch.inference_mode():
        inside = model.transform(blobs)
    np.testing.assert_array_equal(model.transform(blobs), inside)
    assert len(preparations) == 1


def test_threads_may_share_tables_while_weights_change(model, blobs):
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
