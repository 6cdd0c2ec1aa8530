from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgb

from sk_rqvae.plotting import IDTreeDisplay
from sk_rqvae.plotting._axes_and_colors import GREY
from sk_rqvae.plotting._tree_layout import pieces_of

CODES = np.array([[0, 1], [0, 1], [0, 2], [0, 3], [5, 1], [5, 1], [2, 0]])

pytestmark = pytest.mark.usefixtures("no_screen")


def texts_on(display):
    return [text.get_text() for text in display.ax_.texts]


def test_each_prefix_stands_left_of_its_continuations():
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


def test_what_there_is_no_room_for_is_one_rest_a_parent():
    display = IDTreeDisplay.from_codes(CODES, breadth=(1, 2))
    assert list(display.patches_) == [(0, 1), (0, 2), (0,)]
    assert list(display.rests_) == [(0,)]
    assert display.rests_[(0,)].get_xy() == (1, 2)
    assert "1 more (1)" in texts_on(display)
    assert display.ax_.get_title() == "1 of 3 first codes, 4 of 7 items"


def test_a_prefix_has_the_colour_of_its_commonest_label():
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
    assert "5 (2)  b 100%" in texts_on(display)
    assert "0 (4)  a 50%" in texts_on(display)


def test_more_majorities_than_colours_share_grey():
    codes = np.arange(24).reshape(12, 2)
    display = IDTreeDisplay.from_codes(codes, np.arange(12), breadth=(12, 1))
    greys = [
        prefix
        for prefix, box in display.patches_.items()
        if box.get_facecolor()[:3] == to_rgb(GREY)
    ]
    assert greys == [(20, 21), (20,), (22, 23), (22,)]
    assert display.figure_.legends[0].get_texts()[-1].get_text() == "other labels"


def test_a_prefix_has_the_colour_of_the_mean_of_numbers():
    values = np.array([0.0, 2.0, 4.0, 6.0, 10.0, 10.0, 3.0])
    display = IDTreeDisplay.from_codes(CODES, values)
    scale = display.figure_.axes[1].get_ylim()
    assert scale == (1.0, 10.0)
    face = {prefix: box.get_facecolor() for prefix, box in display.patches_.items()}
    assert face[0,] == face[2,] == mpl.colormaps["viridis"](2 / 9)
    assert face[5,] == mpl.colormaps["viridis"](1.0)
    assert "0 (4)  3" in texts_on(display)


def test_without_labels_a_prefix_has_the_colour_of_its_first_code():
    display = IDTreeDisplay.from_codes(CODES)
    face = {prefix: box.get_facecolor() for prefix, box in display.patches_.items()}
    assert len({face[0,], face[5,], face[2,]}) == 3
    assert all(face[prefix] == face[prefix[:1]] for prefix in face)


def test_names_of_the_items_stand_beside_the_last_column():
    names = ["ant", "bee", "cat", "dog", "eel", "fly", "gnu"]
    display = IDTreeDisplay.from_codes(CODES, names=names)
    beside = {
        text.get_text() for text in display.ax_.texts if text.get_position()[0] > 2
    }
    assert beside == {"ant, bee", "cat", "dog", "eel, fly", "gnu"}


def test_names_that_do_not_fit_are_cut_short():
    names = [f"an item with the number {number}" for number in range(7)]
    display = IDTreeDisplay.from_codes(np.zeros((7, 2)), names=names)
    (text,) = (text for text in texts_on(display) if text.startswith("an item"))
    assert text.endswith(" …")
    assert 1 < len(text.removesuffix(" …").split(", ")) < 7


def test_text_that_is_higher_than_its_rectangle_is_left_out():
    codes = np.stack([np.arange(600) // 30, np.arange(600)], axis=1)
    display = IDTreeDisplay.from_codes(codes, breadth=(20, 30))
    assert len(display.patches_) == 620
    assert len(texts_on(display)) == 20


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
def test_pieces_hold_every_item_below_a_prefix_once(codes, breadth):
    pieces = pieces_of(codes, breadth)
    for piece in pieces:
        below = [
            other
            for other in pieces
            if other.depth == piece.depth + 1
            and other.prefix[: piece.depth] == piece.prefix
            and not piece.n_merged
        ]
        if piece.n_merged:
            continue
        assert (codes[piece.items, : piece.depth] == piece.prefix).all()
        if piece.depth < len(breadth):
            held = np.concatenate([other.items for other in below])
            assert sorted(held) == sorted(piece.items)
            assert sum(other.n_rows for other in below) == piece.n_rows
            assert min(other.top for other in below) == piece.top


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"breadth": ()}, ValueError, "from 1 to 2 entries"),
        ({"breadth": (1, 1, 1)}, ValueError, "Got 3"),
        ({"breadth": (0,)}, ValueError, "Each entry of breadth"),
        ({"breadth": (1.5,)}, TypeError, "Each entry of breadth"),
        ({"names": ["a"]}, ValueError, "names and codes"),
        ({"labels": ["a"]}, ValueError, "labels and codes"),
        ({"labels": [np.nan] * 7}, ValueError, "labels must be finite"),
    ],
)
def test_a_tree_names_the_argument_that_it_refuses(options, error, message):
    with pytest.raises(error, match=message):
        IDTreeDisplay.from_codes(CODES, **options)
