"""Basic calls of the index, and their errors."""

from __future__ import annotations

import copy
import enum
import pickle
import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_toys import ToyQuantizer
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_rqvae import QuantizeForwardMode, SemanticIDIndex
from sk_rqvae.index import code_model
from sk_rqvae.index import items as _items
from sk_rqvae.index.fingerprint import fingerprint as hash_of

CODES = np.array([[0, 1], [0, 1], [3, 2], [0, 0], [0, 1]])
ITEMS = ["e", "d", "c", "b", "a"]


@pytest.fixture
def index():
    return SemanticIDIndex(policy="suffix", codebook_size=4).fit(CODES, ITEMS)


def test_every_id_has_a_suffix_that_counts_in_order_of_arrival(index):
    assert index.ids_.tolist() == [
        [0, 1, 0],
        [0, 1, 1],
        [3, 2, 0],
        [0, 0, 0],
        [0, 1, 2],
    ]
    assert index.ids_.dtype == np.int64


def test_items_under_a_prefix_come_in_order_of_their_ids(index):
    assert index.items_with_prefix([]).tolist() == ["b", "e", "d", "a", "c"]
    assert index.items_with_prefix([0, 1]).tolist() == ["e", "d", "a"]
    assert index.items_with_prefix([0, 1, 1]).tolist() == ["d"]
    assert index.items_with_prefix([2]).tolist() == []


def test_codes_after_a_prefix_are_those_of_ids_that_exist(index):
    assert index.allowed_next([]).tolist() == [0, 3]
    assert index.allowed_next((np.int64(0),)).tolist() == [0, 1]
    assert index.allowed_next([0, 1]).tolist() == [0, 1, 2]
    for nothing in ([2], [9], [0, 1, 0], [0, 1, 7]):
        assert index.allowed_next(nothing).tolist() == []


@pytest.mark.parametrize("policy", ["none", "suffix"])
def test_an_index_does_not_change_with_the_arrays_that_it_was_made_of(policy):
    codes, items = np.array([[2**40, 1], [2**40, 1], [5, 0]]), np.arange(3)
    weights = None if policy == "suffix" else np.array([1.0, 2.0, 0.0])
    index = SemanticIDIndex(policy=policy).fit(codes, items, weights=weights)
    empty = SemanticIDIndex(policy=policy).fit(np.empty((0, 2)), [])
    empty.add(codes, items, weights=weights)
    before, found = index.ids_.copy(), list(map(str, index.lookup(index.ids_)))
    for array in (codes, items, weights):
        if array is not None:
            array[:] = array[::-1].copy()
    for each in (index, empty):
        assert np.array_equal(each.ids_, before)
        assert each.item_ids_.tolist() == [0, 1, 2]
        assert list(map(str, each.lookup(each.ids_))) == found
        assert np.array_equal(each.trie().item_ids, index.trie().item_ids)


def test_what_a_query_returned_can_be_changed_without_harm(index):
    for _ in range(2):
        items = index.items_with_prefix([])
        codes = index.allowed_next([])
        assert (items.tolist(), codes.tolist()) == (["b", "e", "d", "a", "c"], [0, 3])
        items[:], codes[:] = "x", 9
    with pytest.raises(ValueError, match="read-only"):
        index.ids_[0, 0] = 1


def test_a_wide_prefix_is_answered_equally_each_time_and_includes_added_items():
    codes = np.stack([np.arange(2000) % 50, np.arange(2000) // 50], axis=1)
    index = SemanticIDIndex(policy="none").fit(codes)
    for _ in range(2):
        answer = index.allowed_next([])
        assert answer.tolist() == list(range(50))
        answer[:] = 0
    index.add([[77, 0]])
    assert index.allowed_next([]).tolist() == [*range(50), 77]


def test_lookup_returns_all_items_where_they_share_ids():
    index = SemanticIDIndex(policy="none").fit(CODES, ITEMS)
    found = index.lookup([[0, 1], [3, 2]])
    assert [items.tolist() for items in found] == [["e", "d", "a"], ["c"]]
    assert index.lookup([[9, 9]], default=None) == [None]


def test_an_id_that_does_not_exist_is_named(index):
    with pytest.raises(KeyError, match=r"no item has ID \(0, 1, 3\) \(row 1 of ids\)"):
        index.lookup([[0, 1, 2], [0, 1, 3]])
    for missing in ([9, 9, 0], [0, 2, 0], [0, 1, 2**62], [2**62, 0, 0]):
        assert index.lookup([missing, [0, 1, 1]], default="?").tolist() == ["?", "d"]


def test_a_default_of_the_items_type_keeps_the_type():
    index = SemanticIDIndex().fit(CODES)
    assert index.lookup([[0, 1, 0], [0, 1, 9]], default=-1).dtype == np.int64
    assert index.lookup([[0, 1, 0], [0, 1, 9]], default=None).tolist() == [0, None]
    assert SemanticIDIndex().fit(CODES[:0]).lookup([[0, 0, 0]], -1).tolist() == [-1]


def test_ids_of_finds_the_id_of_each_item(index):
    assert index.ids_of(["a", "e"]).tolist() == [[0, 1, 2], [0, 1, 0]]
    with pytest.raises(KeyError, match="no item 'z'"):
        index.ids_of(["a", "z"])
    with pytest.raises(KeyError, match="no item 3"):
        index.ids_of([3])


@pytest.mark.parametrize(
    "items",
    [
        pd.Series(ITEMS),
        pd.Index(ITEMS),
        np.array(ITEMS),
        np.array(ITEMS, dtype=object),
        tuple(map(np.str_, ITEMS)),
    ],
)
def test_items_of_any_array_of_strings_are_strings(items):
    index = SemanticIDIndex().fit(pd.DataFrame(CODES), items)
    assert index.item_ids_.tolist() == ITEMS
    assert {type(item) for item in index.item_ids_} == {str}


@given(items=st.lists(st.text(max_size=3), unique=True, max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_strings_can_be_items(items):
    index = SemanticIDIndex().fit(np.zeros((len(items), 1)), items)
    assert index.item_ids_.tolist() == items
    assert index.lookup(index.ids_).tolist() == items
    assert index.ids_of(items)[:, 1].tolist() == list(range(len(items)))


def test_a_member_of_an_enumeration_of_strings_is_the_string_that_it_equals():
    class Colour(str, enum.Enum):  # noqa: UP042 - a StrEnum prints its value
        RED = "red"

    index = SemanticIDIndex().fit([[0, 1], [0, 1]], [Colour.RED, "blue"])
    assert index.item_ids_.tolist() == ["red", "blue"]
    assert Colour.RED in index
    assert "red" in index


def test_strings_with_equal_hashes_are_different_items(monkeypatch):
    monkeypatch.setattr(
        _items, "text_keys", lambda items: np.zeros(len(items), dtype=np.int64)
    )
    index = SemanticIDIndex().fit(CODES, ITEMS)
    index.add(CODES, [item * 2 for item in ITEMS])
    for item, identifier in zip(index.item_ids_, index.ids_, strict=True):
        assert index.ids_of([item])[0].tolist() == identifier.tolist()
    with pytest.raises(KeyError, match="no item 'aaa'"):
        index.ids_of(["aaa"])
    with pytest.raises(ValueError, match="Got 'bb', which it has"):
        index.add(CODES[:2], ["q", "bb"])
    with pytest.raises(ValueError, match="Got 'q' more than once"):
        index.add(CODES[:3], ["q", "r", "q"])


def test_codes_of_any_size_make_keys_without_collisions():
    large = [[2**62, 2**62], [2**62, 2**62 - 1], [0, 2**62], [255, 256]]
    index = SemanticIDIndex(policy="none").fit([[1, 1]])
    index.add(large)
    assert index.lookup([*large, [1, 1]]) == [[1], [2], [3], [4], [0]]
    assert index.items_with_prefix([]).tolist() == [3, 0, 4, 2, 1]
    assert index.allowed_next([2**62]).tolist() == [2**62 - 1, 2**62]


def test_ids_of_many_levels_do_not_need_to_fit_in_64_bits():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (3000, 12))
    codes[1500:, :9] = codes[:1500, :9]
    index = SemanticIDIndex(codebook_size=256).fit(codes)
    assert np.array_equal(index.lookup(index.ids_), np.arange(3000))
    order = np.lexsort(index.ids_.T[::-1])
    assert np.array_equal(index.items_with_prefix([]), order)
    assert np.array_equal(index.allowed_next([]), np.unique(codes[:, 0]))
    below = index.allowed_next(codes[0, :9])
    assert below.tolist() == sorted({codes[0, 9], codes[1500, 9]})


def test_tokens_have_a_letter_a_level_and_parse_back(index):
    assert index.tokens([[3, 2, 0]]) == ["<a_3><b_2><c_0>"]
    assert np.array_equal(index.parse_tokens(index.tokens(index.ids_)), index.ids_)
    assert index.tokens(np.empty((0, 3))) == []
    assert index.parse_tokens([]).shape == (0, 3)


@given(
    codes=st.lists(
        st.lists(st.integers(0, 10**17), min_size=30, max_size=30),
        min_size=1,
        max_size=4,
    )
)
@settings(deadline=None)
def test_tokens_of_many_levels_parse_back(codes):
    index = SemanticIDIndex(policy="none").fit(codes)
    texts = index.tokens(codes)
    assert index.parse_tokens(texts).tolist() == codes
    assert "><z_" in texts[0]
    assert "><ad_" in texts[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a_1><b_2>",
        "<a_1><b_2><c_0><d_0>",
        "<b_1><a_2><c_0>",
        "<a_01><b_2><c_0>",
        "<a_-1><b_2><c_0>",
        "<a_1><b_2><c_0> ",
        "<a_\u0661><b_2><c_0>",
        "<a_1><b_2><c_99999999999999999999>",
    ],
)
def test_what_is_not_the_tokens_of_an_id_is_an_error(index, text):
    with pytest.raises(ValueError, match="must name one code per level"):
        index.parse_tokens([text])


def test_a_token_out_of_the_vocabulary_is_an_error(index):
    with pytest.raises(ValueError, match="below codebook_size"):
        index.parse_tokens(["<a_4><b_0><c_0>"])
    with pytest.raises(ValueError, match="below codebook_size"):
        index.tokens([[0, 4, 0]])
    with pytest.raises(TypeError, match="must be strings"):
        index.parse_tokens([3])


def test_the_vocabulary_has_every_code_of_every_level(index):
    expected = [f"<{letter}_{code}>" for letter in "ab" for code in range(4)]
    assert index.vocabulary() == [*expected, "<c_0>", "<c_1>", "<c_2>"]
    unbounded = SemanticIDIndex(policy="none").fit(CODES)
    assert len(unbounded.vocabulary()) == 4 + 3


def test_the_summary_counts_what_the_model_gave():
    X = np.array([[1.0], [1.0], [2.0], [-0.0], [0.0]], dtype=np.float32)
    index = SemanticIDIndex(policy="suffix").fit(CODES, X=X)
    assert index.summary() == {
        "policy": "suffix",
        "n_items": 5,
        "n_unique": 3,
        "colliding_share": 0.6,
        "worst_bucket": 3,
        "exact_duplicates": 2,
        "suffix_codes": 3,
        "n_moved": 0,
        "moved_at_level": [0, 0],
        "added_error": 0.0,
    }
    index.add([[0, 1]], X=np.array([[2.0]]))
    assert index.summary()["exact_duplicates"] == 3
    index.add([[0, 1]])
    assert index.summary()["exact_duplicates"] is None
    assert SemanticIDIndex().fit(CODES[:0]).summary()["worst_bucket"] == 0


def test_an_index_is_a_scikit_learn_object():
    index = SemanticIDIndex(policy="none", codebook_size=8)
    assert repr(index) == "SemanticIDIndex(codebook_size=8, policy='none')"
    assert clone(index.fit(CODES)).get_params() == index.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        clone(index).lookup([[0, 0]])


def test_the_repr_of_a_fitted_index_counts_items_and_changes(index):
    index.remove(["a"])
    assert repr(index) == "SemanticIDIndex(codebook_size=4, 4 items, revision 2)"
    empty = SemanticIDIndex().fit(CODES[:0])
    assert repr(empty) == "SemanticIDIndex(0 items, revision 1)"


def test_a_pickled_index_gives_new_items_the_ids_of_the_original(index):
    other = pickle.loads(pickle.dumps(index))
    assert np.array_equal(
        other.add(CODES, list("vwxyz")), index.add(CODES, list("vwxyz"))
    )
    assert other.ids_of(["y"]).tolist() == index.ids_of(["y"]).tolist()


def test_adding_to_a_copy_does_not_change_the_original(index):
    index.add([[1, 1]], ["f"])
    other = copy.copy(index)
    other.add([[2, 2]], ["g"])
    index.add([[3, 3]], ["h"])
    assert other.ids_of(["g"]).tolist() == [[2, 2, 0]]
    assert index.ids_of(["h"]).tolist() == [[3, 3, 0]]
    with pytest.raises(KeyError):
        index.ids_of(["g"])


BAD_ADDITIONS = {
    "duplicate in the call": ([[0, 1], [0, 1]], ["x", "x"], "item_ids must be unique"),
    "duplicate of an item": ([[0, 1]], ["a"], "item_ids must be new"),
    "lengths differ": ([[0, 1]], ["x", "y"], "must have the same length"),
    "code too large": ([[0, 4]], ["x"], "below codebook_size"),
    "negative code": ([[0, -1]], ["x"], "must not be negative"),
    "fractional code": ([[0, 0.5]], ["x"], "must be whole numbers"),
    "missing code": ([[0, np.nan]], ["x"], "must be finite"),
    "wrong number of levels": ([[0, 1, 2]], ["x"], "as many columns"),
    "no second dimension": ([0, 1], ["x"], "must be 2-D"),
    "item ids forgotten": ([[0, 1]], None, "item_ids must be given"),
    "item ids of another type": ([[0, 1]], [7], "item_ids must be of the index's type"),
    "mixed item ids": ([[0, 1], [0, 1]], ["x", 7], "all integers or all strings"),
    "float item ids": ([[0, 1]], [0.5], "must be all integers or all strings"),
    "boolean item ids": ([[0, 1]], [True], "must be all integers or all strings"),
    "a boolean among integers": ([[0, 1]] * 2, [2, True], r"strings\. Got True"),
    "missing item ids": ([[0, 1]], np.array([None]), "integers or all strings"),
    "one string": ([[0, 1]], "x", "sequence of integers or strings"),
    "nested item ids": ([[0, 1]], [["x"]], "must be 1-D"),
    "too large item ids": ([[0, 1]], np.array([2**64 - 1], "u8"), "fit in 64 bits"),
    "far too large item ids": ([[0, 1]], [2**70], "fit in 64 bits"),
}


@pytest.mark.parametrize("case", BAD_ADDITIONS)
def test_what_cannot_be_added_is_an_error_and_changes_nothing(index, case):
    codes, items, message = BAD_ADDITIONS[case]
    before = index.ids_.copy(), index.item_ids_.copy(), index.summary()
    with pytest.raises((ValueError, TypeError), match=message):
        index.add(codes, items)
    after = index.ids_, index.item_ids_, index.summary()
    assert all(map(np.array_equal, before, after))
    assert index.add([[0, 1]], ["new"]).tolist() == [[0, 1, 3]]


def test_a_failed_fit_does_not_change_the_index(index):
    for arguments in ((CODES, ["a"]), ([[9, 9]], ["a"])):
        with pytest.raises(ValueError, match="Got"):
            index.fit(*arguments)
        assert index.item_ids_.tolist() == ITEMS
    index.set_params(policy="first")
    with pytest.raises(ValueError, match=r"policy must be one of .*Got 'first'"):
        index.fit(CODES)
    assert index.add([[0, 0]], ["new"]).tolist() == [[0, 0, 1]]


def test_numbered_items_cannot_be_named_later():
    index = SemanticIDIndex().fit(CODES)
    with pytest.raises(ValueError, match="item_ids must be None"):
        index.add([[0, 0]], [5])
    assert index.add([[0, 0]]).tolist() == [[0, 0, 1]]
    assert index.item_ids_.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("prefix", "error", "message"),
    [
        ([0.0], TypeError, "sequence of integers"),
        (["0"], TypeError, "sequence of integers"),
        (3, TypeError, "sequence of integers"),
        ([0, 1, 2, 3], ValueError, "at most 3 codes"),
        ([-1], ValueError, "negative"),
    ],
)
def test_an_invalid_prefix_is_an_error(index, prefix, error, message):
    for query in (index.allowed_next, index.items_with_prefix):
        with pytest.raises(error, match=message):
            query(prefix)


def test_ids_of_another_length_are_an_error(index):
    for query in (index.lookup, index.tokens):
        with pytest.raises(ValueError, match="ids must have 3 columns"):
            query([[0, 1]])


@pytest.mark.parametrize("X", [[1.0, 2.0], [["a"]] * 5, [[1.0]] * 4])
def test_embeddings_that_do_not_fit_the_codes_are_an_error(X):
    with pytest.raises(ValueError, match="X"):
        SemanticIDIndex().fit(CODES, X=X)


def test_codes_of_another_model_are_an_error():
    X = np.arange(12.0).reshape(6, 2)
    model, other = (ToyQuantizer(2, 4, random_state=s).fit(X) for s in (0, 1))
    index = SemanticIDIndex().fit(model.transform(X), model=model)
    with pytest.raises(ValueError, match="must be the one that the index was fitted"):
        index.add(other.transform(X), model=other)
    with pytest.raises(ValueError, match="model must be given"):
        index.add(model.transform(X))
    assert len(index.ids_) == 6
    again = copy.deepcopy(model).set_params(verbose=3)
    assert len(index.add(again.transform(X), model=again)) == 6
    without = SemanticIDIndex().fit(model.transform(X))
    with pytest.raises(ValueError, match="model must be None"):
        without.add(model.transform(X), model=model)


def fingerprint(model, X):
    codes = np.asarray(model.transform(X))
    return SemanticIDIndex().fit(codes, model=model).fingerprint_


def test_the_fingerprint_depends_on_what_decides_codes_and_not_on_parameters():
    X = np.arange(12.0).reshape(6, 2)
    model = ToyQuantizer(2, 4).fit(X)
    assert fingerprint(model, X) == fingerprint(ToyQuantizer(2, 4).fit(X), X)
    assert len(fingerprint(model, X)) == 64
    changed = copy.deepcopy(model)
    changed.codebooks_[1][0, 0] += 1
    assert fingerprint(changed, X) != fingerprint(model, X)
    renamed = copy.deepcopy(model).set_params(random_state=5, verbose=2)
    assert fingerprint(renamed, X) == fingerprint(model, X)
    assert SemanticIDIndex().fit(CODES).fingerprint_ is None


def test_the_fingerprint_of_a_transformer_survives_parameters_that_decide_no_codes(
    fitted, blobs
):
    codes = fitted.transform(blobs)
    index = SemanticIDIndex().fit(codes, model=fitted)
    moved = copy.deepcopy(fitted).set_params(device="auto", verbose=1, warm_start=True)
    moved.set_params(codebook_mode=QuantizeForwardMode(fitted.codebook_mode), lr=0.5)
    assert len(index.add(codes, model=moved)) == len(codes)


@pytest.mark.parametrize(
    "part", ["encoder", "decoder", "input_scale", "quantizer.levels"]
)
def test_another_part_of_the_network_that_decides_codes_is_another_model(
    fitted, blobs, part
):
    codes = fitted.transform(blobs)
    index = SemanticIDIndex().fit(codes, model=fitted)
    changed = copy.deepcopy(fitted)
    state = changed.net_.module_.state_dict()
    name = next(name for name in state if name.startswith(part) and state[name].numel())
    state[name].view(-1)[0] += 1
    with pytest.raises(ValueError, match=r"must be the one .* call rebind"):
        index.add(codes, model=changed)
    changed.net_.module_.quantizer.n_beams += 1
    assert fingerprint(changed, blobs) != index.fingerprint_


def test_parts_of_the_network_that_only_training_reads_do_not_matter(fitted, blobs):
    changed = copy.deepcopy(fitted)
    changed.net_.module_.state_dict()["noise_scale"].add_(1)
    changed.net_.module_.state_dict()["quantizer.temperature"].add_(1)
    assert fingerprint(changed, blobs) == fingerprint(fitted, blobs)


def test_a_saved_transformer_comes_back_with_the_same_fingerprint(
    fitted, blobs, tmp_path
):
    fitted.save_pretrained(tmp_path)
    again = type(fitted).from_pretrained(tmp_path)
    assert fingerprint(again, blobs) == fingerprint(fitted, blobs)


def test_a_pipeline_is_a_model_and_its_steps_count(blobs):
    blobs = blobs.copy()

    def pipeline(scale):
        scaled = StandardScaler().fit(scale * blobs)
        model = ToyQuantizer(2, 4).fit(blobs)
        return make_pipeline(scaled, model)

    pipe = pipeline(1)
    index = SemanticIDIndex(policy="reassign")
    index.fit(pipe.transform(blobs[:10]), X=blobs[:10], model=pipe)
    assert len(index.add(pipe.transform(blobs[10:14]), X=blobs[10:14], model=pipe)) == 4
    assert index.fingerprint_ == fingerprint(pipeline(1), blobs)
    assert index.fingerprint_ != fingerprint(pipeline(2), blobs)
    pipe.set_params(standardscaler__copy=False)
    assert index.fingerprint_ == fingerprint(pipe, blobs.copy())
    pipe.set_params(standardscaler__with_mean=False)
    assert index.fingerprint_ != fingerprint(pipe, blobs)


@pytest.mark.parametrize(
    "function",
    [lambda scaler: scaler.transform, lambda scaler: partial(scaler.transform)],
    ids=["method", "partial"],
)
def test_a_function_that_belongs_to_an_estimator_counts_with_it(blobs, function):
    model = ToyQuantizer(2, 4).fit(blobs)

    def pipeline(scale):
        scaler = StandardScaler().fit(scale * blobs)
        return make_pipeline(FunctionTransformer(function(scaler)), model)

    assert fingerprint(pipeline(1), blobs) == fingerprint(pipeline(1), blobs)
    assert fingerprint(pipeline(1), blobs) != fingerprint(pipeline(2), blobs)


class AppliesItsOwnMethod(TransformerMixin, BaseEstimator):
    """Keeps a method of its own among its fitted attributes."""

    def fit(self, X, y=None):
        self.apply_ = self._doubled
        self.again_ = partial(AppliesItsOwnMethod._doubled, self)
        self.mean_ = X.mean()
        return self

    def transform(self, X):
        return self.apply_(X)

    def _doubled(self, X):
        return 2 * X


def test_a_step_that_keeps_its_own_method_has_a_fingerprint(blobs):
    model = ToyQuantizer(2, 4).fit(blobs)
    one, other = (
        make_pipeline(AppliesItsOwnMethod().fit(rows), model)
        for rows in (blobs, blobs + 1)
    )
    assert fingerprint(one, blobs) == fingerprint(copy.deepcopy(one), blobs)
    assert fingerprint(one, blobs) != fingerprint(other, blobs)


def test_a_class_among_the_parameters_counts_by_its_name(blobs):
    def pipeline(kind):
        step = FunctionTransformer(partial(np.asarray, like=None), kw_args={"a": kind})
        return make_pipeline(step, ToyQuantizer(2, 4).fit(blobs))

    routes = [code_model.route_of(pipeline(kind)) for kind in (StandardScaler, Ridge)]
    assert len({hash_of(route) for route in routes}) == 2


def test_an_index_can_be_bound_to_another_model_on_purpose():
    X = np.arange(12.0).reshape(6, 2)
    model, other = (ToyQuantizer(2, 4, random_state=s).fit(X) for s in (0, 1))
    index = SemanticIDIndex().fit(model.transform(X))
    index.rebind(model)
    index.add(model.transform(X), model=model)
    index.rebind(other)
    assert len(index.add(other.transform(X), model=other)) == 6
    with pytest.raises(ValueError, match="one column per level"):
        index.rebind(ToyQuantizer(3, 4).fit(X))
    assert [event["action"] for event in index.history()] == [
        "fit",
        "rebind",
        "add",
        "rebind",
        "add",
    ]


@pytest.mark.parametrize("policy", ["none", "suffix", "reassign"])
def test_an_index_that_is_bound_to_a_model_has_its_codebooks(policy, tmp_path):
    X = np.arange(16.0).reshape(8, 2)
    model = ToyQuantizer(2, 4).fit(X)
    index = SemanticIDIndex(policy=policy)
    index.fit(
        [[0, 1], [3, 3], [0, 2]],
        alternatives=[[[0, 0]]] * 3 if policy == "reassign" else None,
    )
    index.remove([2])
    ids = index.ids_
    index.rebind(model)
    assert np.array_equal(index.ids_, ids)
    assert [list(np.atleast_1d(found)) for found in index.lookup(ids)] == [[0], [1]]
    with pytest.raises(ValueError, match="below codebook_size"):
        index.add([[4, 0]], X=X[:1], model=model)
    for _ in range(2):
        index.add([[0, 1]], X=X[:1], model=model)
    assert len(index.vocabulary()) == 8 + 3 * (policy == "suffix")
    for mmap_mode in (None, "r"):
        index.save(tmp_path / "index")
        loaded = SemanticIDIndex.load(tmp_path / "index", mmap_mode=mmap_mode)
        assert np.array_equal(loaded.ids_, index.ids_)
        with pytest.raises(ValueError, match="below codebook_size"):
            loaded.add([[4, 0]], X=X[:1], model=model)


def test_the_model_says_how_large_codebooks_are():
    X = np.arange(12.0).reshape(6, 2)
    model = ToyQuantizer(2, 4).fit(X)
    index = SemanticIDIndex(policy="none").fit(model.transform(X), model=model)
    assert len(index.vocabulary()) == 8
    with pytest.raises(ValueError, match="codebook_size must be that of the model"):
        SemanticIDIndex(codebook_size=5).fit(model.transform(X), model=model)
    with pytest.raises(ValueError, match="one column per level of the model"):
        SemanticIDIndex().fit([[0, 0, 0]], model=model)
    with pytest.raises(ValueError, match="below codebook_size"):
        SemanticIDIndex().fit([[0, 4]], model=model)
    with pytest.raises(TypeError, match="fitted transformer with codebooks_"):
        SemanticIDIndex().fit([[0, 0]], model=ToyQuantizer())


def test_an_item_takes_less_than_100_bytes():
    rng = np.random.default_rng(0)
    n_items = 200_000
    codes = rng.integers(0, 256, (n_items, 4))
    tracemalloc.start()
    index = SemanticIDIndex(codebook_size=256).fit(codes[:-5000], range(n_items - 5000))
    for start in range(n_items - 5000, n_items, 500):
        stop = start + 500
        index.add(codes[start:stop], range(start, stop))
    for prefix in index.ids_[:2000, :2].tolist():
        index.allowed_next(prefix)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / n_items < 100


@pytest.mark.slow
def test_the_id_of_each_of_a_million_items_is_looked_up_as_that_item():
    rng = np.random.default_rng(0)
    codes = (256 * rng.random((1_000_000, 4)) ** 2).astype(np.int64)
    index = SemanticIDIndex(codebook_size=256).fit(codes)
    index.add(codes[:1000])
    assert np.array_equal(index.lookup(index.ids_), np.arange(1_001_000))
    assert np.array_equal(
        index.allowed_next([3]), np.unique(codes[codes[:, 0] == 3, 1])
    )


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]
)
def test_a_copy_does_not_have_what_queries_remember(index, copied):
    index.remove(["a"])
    before = len(pickle.dumps(index))
    assert len(index.ids_) == 4
    assert len(pickle.dumps(index)) == before
    other = copied(index)
    assert not other.ids_.flags.writeable
    np.testing.assert_array_equal(other.ids_, index.ids_)


def test_an_item_is_found_after_many_moves(index):
    for _ in range(30):
        index.remove(["a"])
        index.add([[0, 1]], ["a"])
    assert index.ids_of(["a"]).tolist() == [[0, 1, 32]]
    assert "a" in index
    index.remove(["a"])
    assert "a" not in index


@pytest.mark.parametrize(
    ("items", "expected"), [(None, int), ([5, 6], int), (["a", "b"], str)]
)
def test_the_type_of_items_stays_when_all_are_removed(items, expected):
    index = SemanticIDIndex().fit([[0, 1]] * 2, items)
    assert index.item_type_ is expected
    index.remove(index.item_ids_)
    assert index.item_type_ is expected


def test_items_may_be_integers_of_several_types():
    items = [np.uint64(5), np.int64(3), 2**62 + 1]
    index = SemanticIDIndex().fit([[0, 1]] * 3, items)
    assert index.item_ids_.tolist() == items
    index.remove([np.uint64(3), -1 + 6])
    assert index.item_ids_.tolist() == [2**62 + 1]


def test_masked_items_and_codes_are_refused():
    codes = np.ma.array([[0, 1], [0, 1]], mask=[[0, 0], [0, 1]])
    with pytest.raises(TypeError, match="codes must not have masked values"):
        SemanticIDIndex().fit(codes)
    with pytest.raises(TypeError, match="item_ids must not have masked values"):
        SemanticIDIndex().fit(codes.data, np.ma.array([1, 2], mask=[0, 1]))


def test_items_are_read_only_after_a_removal():
    index = SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", "b"])
    assert not index.item_ids_.flags.writeable
    index.remove(["a"])
    assert not index.item_ids_.flags.writeable


def test_one_long_item_takes_memory_once():
    items = [f"item {number}" for number in range(500)]
    items[7] = "x" * 200_000
    tracemalloc.start()
    try:
        SemanticIDIndex().fit(np.zeros((500, 2), int), items)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_durations_are_no_items():
    with pytest.raises(TypeError, match="must be"):
        SemanticIDIndex().fit([[0, 1]], [np.timedelta64(1, "s")])


def test_a_popular_id_is_looked_up_once_however_often_it_is_asked_for():
    index = SemanticIDIndex(policy="none").fit([[0, 1]] * 3000 + [[1, 1]])
    tracemalloc.start()
    try:
        found = index.lookup([[0, 1]] * 3000 + [[1, 1]])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6
    assert [len(items) for items in found] == [3000] * 3000 + [1]
    assert found[0].tolist() == list(range(3000))
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = 7
    assert index.lookup([[1, 1], [9, 9], [0, 1]], default=None)[1] is None


def test_codes_in_a_frame_must_have_the_order_of_the_model(fitted, blobs):
    names = fitted.get_feature_names_out()
    codes = pd.DataFrame(fitted.transform(blobs), columns=names)
    index = SemanticIDIndex().fit(codes, model=fitted)
    for call in (SemanticIDIndex().fit, index.add):
        with pytest.raises(ValueError, match=r"codes must have .* in this order"):
            call(codes[names[::-1]], model=fitted)
    assert len(index.ids_) == len(blobs)


def test_a_table_of_ids_is_no_table_of_codes():
    table = pd.DataFrame({"item_id": [5, 6], "level_1": [0, 1], "level_2": [1, 1]})
    with pytest.raises(ValueError, match=r"no column 'item_id'.*from_table"):
        SemanticIDIndex().fit(table)
    ids = SemanticIDIndex().fit(table.drop(columns="item_id"), table["item_id"]).ids_
    assert ids.tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("other", [3, None, [[0, 1]]])
def test_churn_takes_an_index(other):
    with pytest.raises(TypeError, match="other must be a SemanticIDIndex"):
        SemanticIDIndex().fit([[0, 1]]).churn(other)


def test_an_empty_path_is_refused_by_name():
    with pytest.raises(ValueError, match=r"must have a name. Got ''"):
        SemanticIDIndex().fit([[0, 1]]).save("")
