from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgb

from sk_rqvae.plotting import IDTreeDisplay
from sk_rqvae.plotting._colors import GREY, tint
from sk_rqvae.plotting._icicle import _joined, figure_size
from sk_rqvae.plotting._tree_layout import tree_nodes

CODES = np.array([[0, 1], [0, 1], [0, 2], [0, 3], [5, 1], [5, 1], [2, 0]])

pytestmark = pytest.mark.usefixtures("no_screen")


def texts_on(display):
    return [text.get_text() for text in display.ax_.texts]


def test_the_children_of_a_prefix_are_to_its_right():
    display = IDTreeDisplay.from_codes(CODES)
    boxes = {
        prefix: (box.get_xy(), box.get_width(), box.get_height())
        for prefix, box in display.patches_.items()
    }
    assert boxes == {
        (0,): ((0, 0), 1, 3),
        (0, 1): ((1, 0), 1, 1),
        (0, 2): ((1, 1), 1, 1),
        (0, 3): ((1, 2), 1, 1),
        (5,): ((0, 3), 1, 1),
        (5, 1): ((1, 3), 1, 1),
        (2,): ((0, 4), 1, 1),
        (2, 0): ((1, 4), 1, 1),
    }
    assert display.rests_ == {}


def test_children_that_are_not_drawn_share_one_rectangle_per_parent():
    display = IDTreeDisplay.from_codes(CODES, breadth=(1, 2))
    assert list(display.patches_) == [(0, 1), (0, 2), (0,)]
    assert list(display.rests_) == [(0,)]
    assert display.rests_[(0,)].get_xy() == (1, 2)
    assert "1 more (1)" in texts_on(display)
    assert display.ax_.get_title() == "1 of 3 first codes, 4 of 7 items"


def test_of_codes_with_equally_many_items_the_lowest_are_drawn():
    codes = np.random.default_rng(0).permutation(500)[:, np.newaxis]
    display = IDTreeDisplay.from_codes(codes, breadth=[40])
    assert sorted(display.patches_) == [(code,) for code in range(40)]


def test_a_prefix_has_the_colour_of_its_most_frequent_label():
    labels = ["a", "a", "b", "b", "b", "b", "c"]
    display = IDTreeDisplay.from_codes(CODES, labels)
    face = {prefix: box.get_facecolor() for prefix, box in display.patches_.items()}
    assert face[0, 1] != face[0, 2] == face[0, 3] == face[5,] == face[5, 1]
    assert face[2,] not in (face[0, 1], face[5,])
    legend = {
        text.get_text(): patch.get_facecolor()
        for text, patch in zip(
            display.figure_.legends[0].get_texts(),
            display.figure_.legends[0].get_patches(),
            strict=True,
        )
    }
    assert legend == {"a": face[0, 1], "b": face[5,], "c": face[2,]}
    assert "5 (2) · b 100%" in texts_on(display)
    assert "0 (4) · a 50%" in texts_on(display)


@pytest.mark.parametrize("dtype", ["string", "category", object])
def test_labels_may_be_a_column_of_texts(dtype):
    labels = ["a", "a", "b", "b", "b", "b", "c"]
    expected = texts_on(IDTreeDisplay.from_codes(CODES, labels))
    column = pd.Series(labels, dtype=dtype)
    assert texts_on(IDTreeDisplay.from_codes(CODES, column)) == expected


def test_more_majorities_than_colours_share_grey():
    codes = np.arange(24).reshape(12, 2)
    display = IDTreeDisplay.from_codes(codes, np.arange(12), breadth=(12, 1))
    greys = [
        prefix
        for prefix, box in display.patches_.items()
        if box.get_facecolor()[:3] == pytest.approx(tint(GREY, to_rgb("white")))
    ]
    assert greys == [(20, 21), (20,), (22, 23), (22,)]
    assert display.figure_.legends[0].get_texts()[-1].get_text() == "other labels"


def test_float_labels_colour_by_their_mean():
    values = np.array([0.0, 2.0, 4.0, 6.0, 10.0, 10.0, 3.0])
    display = IDTreeDisplay.from_codes(CODES, values)
    scale = display.figure_.axes[1].get_ylim()
    assert scale == (1.0, 10.0)
    face = {prefix: box.get_facecolor() for prefix, box in display.patches_.items()}
    assert face[0,] == face[2,] == mpl.colormaps["viridis"](2 / 9)
    assert face[5,] == mpl.colormaps["viridis"](1.0)
    assert "0 (4) · 3" in texts_on(display)
    years = IDTreeDisplay.from_codes(CODES, values + 2016)
    assert "0 (4) · 2019" in texts_on(years)


def test_without_labels_the_first_code_decides_the_colour():
    display = IDTreeDisplay.from_codes(CODES)
    face = {prefix: box.get_facecolor() for prefix, box in display.patches_.items()}
    assert len({face[0,], face[5,], face[2,]}) == 3
    assert all(face[prefix] == face[prefix[:1]] for prefix in face)


def test_without_labels_a_code_is_followed_by_its_number_of_items_alone():
    display = IDTreeDisplay.from_codes([[0, 1], [0, 1], [0, 2], [5, 1]])
    assert texts_on(display) == ["1 (2)", "2 (1)", "0 (3)", "1 (1)", "5 (1)"]


def test_item_names_are_to_the_right_of_the_last_column():
    names = ["ant", "bee", "cat", "dog", "eel", "fly", "gnu"]
    display = IDTreeDisplay.from_codes(CODES, names=names)
    beside = {
        text.get_text() for text in display.ax_.texts if text.get_position()[0] > 2
    }
    assert beside == {"ant, bee", "cat", "dog", "eel, fly", "gnu"}


def test_names_in_a_series_belong_to_items_by_position():
    names = ["ant", "bee", "cat", "dog", "eel", "fly", "gnu"]
    series = pd.Series(names, index=[6, 5, 4, 3, 2, 1, 0])
    expected = texts_on(IDTreeDisplay.from_codes(CODES, names=names))
    assert texts_on(IDTreeDisplay.from_codes(CODES, names=series)) == expected


@pytest.mark.parametrize("names", [dict.fromkeys(range(7), "a"), "abcdefg", set("abc")])
def test_names_without_an_order_of_items_are_refused(names):
    kind = type(names).__name__
    with pytest.raises(TypeError, match=f"names must be a sequence.*Got {kind}"):
        IDTreeDisplay.from_codes(CODES, names=names)


def test_lists_of_names_are_cut_to_the_space():
    names = [f"an item with the number {number}" for number in range(7)]
    display = IDTreeDisplay.from_codes(np.zeros((7, 2)), names=names)
    (text,) = (text for text in texts_on(display) if text.startswith("an item"))
    assert text.endswith(" …")
    assert 1 < len(text.removesuffix(" …").split(", ")) < 7


@pytest.mark.parametrize(
    ("room", "expected"),
    [(11, "apple, plum"), (10, "apple …"), (5, "app …")],
)
def test_names_that_do_not_fit_are_cut_after_a_name_if_one_fits(room, expected):
    assert _joined(["apple", "plum"], room) == expected


def test_texts_that_do_not_fit_their_rectangle_are_omitted():
    codes = np.stack([np.arange(600) // 30, np.arange(600)], axis=1)
    _, ax = plt.subplots()
    display = IDTreeDisplay.from_codes(codes, breadth=(20, 30), ax=ax)
    assert len(display.patches_) == 620
    assert len(texts_on(display)) == 20


@pytest.mark.parametrize(("height", "n_texts"), [(1, 0), (20, 40)])
def test_rectangles_too_low_for_a_text_have_none(height, n_texts):
    _, ax = plt.subplots(figsize=(6, height))
    codes = np.arange(40)[:, np.newaxis]
    display = IDTreeDisplay.from_codes(codes, breadth=[40], ax=ax)
    assert len(texts_on(display)) == n_texts
    assert len(display.patches_) == 40


def test_figures_are_neither_tiny_nor_huge():
    assert figure_size(1, 1, named=False) == (6, 4)
    assert figure_size(3, 10_000, named=False)[1] == 24


@pytest.mark.parametrize("breadth", [(3, 2), (10, 4), (10, 4, 1)])
def test_a_new_figure_is_large_enough_for_every_text(breadth):
    codes = np.random.default_rng(0).integers(0, 16, size=(4000, 3))
    names = [f"item {number}" for number in range(4000)]
    display = IDTreeDisplay.from_codes(codes, names=names, breadth=breadth)
    n_ends = sum(len(prefix) == len(breadth) for prefix in display.patches_)
    n_boxes = len(display.patches_) + len(display.rests_)
    assert len(texts_on(display)) == n_boxes + n_ends


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_by_default_at_most_fifty_rectangles_end_the_tree(n_layers):
    codes = np.random.default_rng(0).integers(0, 256, size=(4000, n_layers))
    display = IDTreeDisplay.from_codes(codes)
    last = max(map(len, display.patches_))
    assert last == min(n_layers, 2)
    ends = [prefix for prefix in display.patches_ if len(prefix) == last]
    assert len(ends) + len(display.rests_) <= 50


@given(
    arrays(np.int64, (30, 3), elements=st.integers(0, 4)),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_every_item_of_a_prefix_belongs_to_one_child(codes, breadth):
    nodes = tree_nodes(codes, breadth)
    for node in nodes:
        below = [
            other
            for other in nodes
            if other.depth == node.depth + 1
            and other.prefix[: node.depth] == node.prefix
            and not node.n_merged
        ]
        if node.n_merged:
            continue
        assert (codes[node.items, : node.depth] == node.prefix).all()
        if node.depth < len(breadth):
            held = np.concatenate([other.items for other in below])
            assert sorted(held) == sorted(node.items)
            assert sum(other.n_rows for other in below) == node.n_rows
            assert min(other.top for other in below) == node.top


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"breadth": ()}, ValueError, "from 1 to 2 entries"),
        ({"breadth": (1, 1, 1)}, ValueError, "Got 3"),
        ({"breadth": (0,)}, ValueError, "Each entry of breadth"),
        ({"breadth": (1.5,)}, TypeError, "Each entry of breadth"),
        ({"names": ["a"]}, ValueError, "names and codes"),
        ({"labels": ["a"]}, ValueError, "labels and codes"),
        ({"labels": [np.nan] * 7}, ValueError, "labels must not be missing"),
        ({"labels": [np.inf] * 7}, ValueError, "labels must be finite"),
        ({"labels": [*"aaaaaa", None]}, ValueError, "Got None for item 6"),
        ({"labels": [*"aaaaaa", pd.NA]}, ValueError, "Got <NA> for item 6"),
        ({"labels": [*"aaaaaa", np.nan]}, ValueError, "Got nan for item 6"),
    ],
)
def test_the_tree_names_the_invalid_argument(options, error, message):
    with pytest.raises(error, match=message):
        IDTreeDisplay.from_codes(CODES, **options)
