from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import adjusted_mutual_info_score

from sk_rqvae.metrics import _mutual_information as mutual_information
from sk_rqvae.metrics import prefix_label_agreement

PARTITIONS = hnp.arrays(
    np.int64,
    st.tuples(st.just(2), st.integers(3, 60)),
    elements=st.integers(0, 50),
)


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


@given(PARTITIONS)
def test_agreement_equals_scikit_learns_adjusted_mutual_information(partitions):
    codes, labels = partitions
    expected = (
        1.0
        if same_partition(*partitions)
        else adjusted_mutual_info_score(labels, codes)
    )
    agreement = prefix_label_agreement(codes[:, None], labels)
    np.testing.assert_allclose(agreement, [expected], atol=1e-8)


@pytest.mark.parametrize(
    ("n_items", "n_codes", "n_labels"),
    [(20_000, 256, 25), (3_000, 3_000, 10), (5_000, 2, 2), (4_000, 700, 900)],
)
def test_agreement_is_exact_for_large_and_for_many_clusters(n_items, n_codes, n_labels):
    # Large clusters skip negligible terms, and many small ones share their sizes.
    random = np.random.default_rng(0)
    codes = (n_codes * random.random(n_items) ** 2).astype(int)
    labels = (codes + random.integers(0, 5, n_items)) % n_labels
    expected = adjusted_mutual_info_score(labels, codes)
    agreement = prefix_label_agreement(codes[:, None], labels)
    np.testing.assert_allclose(agreement, [expected], atol=1e-8)


def test_agreement_does_not_depend_on_the_block_size(monkeypatch):
    random = np.random.default_rng(0)
    codes, labels = random.integers(0, 9, (200, 2)), random.integers(0, 5, 200)
    expected = prefix_label_agreement(codes, labels)
    monkeypatch.setattr(mutual_information, "_BLOCK_TERMS", 50)
    np.testing.assert_allclose(prefix_label_agreement(codes, labels), expected)


def test_each_level_compares_the_full_prefix():
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 10)
    by_prefix = 2 * codes[:, 0] + codes[:, 1]
    assert prefix_label_agreement(codes, by_prefix)[1] == 1.0
    assert prefix_label_agreement(codes, codes[:, 0])[0] == 1.0
    # The second code alone is independent of the first.
    by_second = prefix_label_agreement(codes[:, 1:], codes[:, 0])
    assert by_second[0] == pytest.approx(0.0, abs=0.05)


def test_independent_labels_have_an_agreement_near_zero():
    random = np.random.default_rng(0)
    codes, labels = random.integers(0, 16, (2000, 3)), random.integers(0, 10, 2000)
    agreement = prefix_label_agreement(codes, labels)
    np.testing.assert_allclose(agreement, np.zeros(3), atol=0.02)


def test_unique_ids_have_an_agreement_of_zero():
    codes = np.arange(500)[:, None]
    labels = codes[:, 0] % 5
    assert prefix_label_agreement(codes, labels) == pytest.approx([0.0], abs=1e-9)


def test_trivial_partitions_agree_only_with_themselves():
    one, split = np.zeros((6, 1), dtype=int), np.array([0, 0, 0, 1, 1, 1])
    assert prefix_label_agreement(one, one[:, 0]) == [1.0]
    assert prefix_label_agreement(one, split) == pytest.approx([0.0])
    assert prefix_label_agreement(np.arange(4)[:, None], list("abcd")) == [1.0]


def test_labels_may_be_strings():
    codes = [[0], [0], [1], [1], [1]]
    words = ["bird", "bird", "tool", "tool", "bird"]
    numbers = [0, 0, 1, 1, 0]
    expected = prefix_label_agreement(codes, numbers)
    np.testing.assert_array_equal(prefix_label_agreement(codes, words), expected)


@pytest.mark.parametrize("dtype", ["string", "category", object])
def test_labels_may_be_a_column_of_texts(dtype):
    codes, words = [[0], [0], [1]], ["bird", "bird", "tool"]
    column = pd.Series(words, dtype=dtype)
    expected = prefix_label_agreement(codes, words)
    np.testing.assert_array_equal(prefix_label_agreement(codes, column), expected)


def test_label_agreement_rejects_invalid_labels():
    with pytest.raises(ValueError, match="labels and codes must have the same number"):
        prefix_label_agreement([[0], [1]], [0])
    for missing in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises(ValueError, match=r"labels must not be missing.* item 1"):
            prefix_label_agreement([[0], [1]], ["a", missing])
        with pytest.raises(ValueError, match=r"labels must not be missing.* item 1"):
            prefix_label_agreement([[0], [1]], pd.Series(["a", missing]))
    with pytest.raises(ValueError, match=r"labels must not be missing. Got nan"):
        prefix_label_agreement([[0], [1]], [0.0, np.nan])
    with pytest.raises(ValueError, match="codes must have at least one row"):
        prefix_label_agreement(np.empty((0, 2), dtype=int), [])
    with pytest.raises(TypeError, match="labels must be of one kind, which can be"):
        prefix_label_agreement([[0], [1]], np.array([1, "a"], dtype=object))
