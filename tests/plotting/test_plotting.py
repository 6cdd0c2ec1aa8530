from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import small
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae.plotting import (
    CodebookUsageDisplay,
    IDTreeDisplay,
    ItemMapDisplay,
    TrainingHistoryDisplay,
)
from sk_rqvae.plotting._axes_and_colors import GREY, PALETTE
from sk_rqvae.plotting._icicle import luminance

LEAST_CONTRAST = 3

CODES = np.array([[0, 1], [0, 1], [0, 2], [0, 3], [5, 1], [5, 1], [2, 0]])
PLACES = np.arange(14.0).reshape(7, 2)

pytestmark = pytest.mark.usefixtures("no_screen")


def history_row(epoch, **more):
    row = {"epoch": epoch, "train_loss": 3.0 / epoch, "train_loss_best": True}
    return (
        row | {"train_reconstruction": 2.0 / epoch, "train_prefix": 1.0 / epoch} | more
    )


def drawn(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


# Training history


def test_the_history_has_a_line_for_each_loss():
    display = TrainingHistoryDisplay.from_history([history_row(1), history_row(2)])
    assert {name: drawn(line) for name, line in display.lines_.items()} == {
        "loss": ([1, 2], [3.0, 1.5]),
        "reconstruction": ([1, 2], [2.0, 1.0]),
        "prefix": ([1, 2], [1.0, 0.5]),
    }
    assert display.best_ is None
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_xlabel() == "epoch"


def test_the_held_out_curve_is_marked_where_it_is_lowest():
    losses = [0.9, 0.4, 0.6]
    rows = [history_row(i, valid_loss=loss) for i, loss in enumerate(losses, start=1)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert drawn(display.lines_["valid_loss"]) == ([1, 2, 3], losses)
    assert np.ravel(display.best_.get_data()).tolist() == [2, 0.4]
    held_out, fitted = display.lines_["valid_loss"], display.lines_["reconstruction"]
    assert held_out.get_color() == fitted.get_color()
    assert held_out.get_linestyle() != fitted.get_linestyle()


def test_epochs_without_a_held_out_loss_leave_a_gap():
    rows = [history_row(1), history_row(2, valid_loss=0.5), history_row(3)]
    display = TrainingHistoryDisplay.from_history(rows)
    np.testing.assert_array_equal(display.valid_loss, [np.nan, 0.5, np.nan])
    assert display.best_.get_xdata()[0] == 2


def test_losses_that_are_not_positive_have_a_linear_scale():
    rows = [history_row(1, train_bonus=-0.5), history_row(2, train_bonus=0.0)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert display.ax_.get_yscale() == "linear"
    assert drawn(display.lines_["bonus"])[1] == [-0.5, 0.0]


def test_the_history_of_a_fitted_transformer_is_drawn_as_it_is(blobs):
    model = small(early_stopping=True).fit(blobs)
    display = TrainingHistoryDisplay.from_estimator(model)
    history = model.net_.history
    epochs, losses = drawn(display.lines_["loss"])
    assert epochs == [1, 2, 3, 4, 5]
    assert losses == history[:, "train_loss"]
    assert drawn(display.lines_["valid_loss"])[1] == history[:, "valid_loss"]
    parts = [line for name, line in display.lines_.items() if name in display.losses]
    np.testing.assert_allclose(sum(line.get_ydata() for line in parts[1:]), losses)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "at least one epoch"),
        ([{"epoch": 1}], "'train_loss'"),
        ([{"train_loss": 1.0}], "'epoch'"),
    ],
)
def test_a_history_without_losses_is_refused(history, message):
    with pytest.raises(ValueError, match=message):
        TrainingHistoryDisplay.from_history(history)


# Use of codebooks


def test_shares_of_codes_fall_and_codes_without_items_have_crosses():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=(6, 4))
    shares = [line.get_ydata() * 7 for line in display.lines_]
    np.testing.assert_allclose(shares[0], [4, 2, 1, 0, 0, 0])
    np.testing.assert_allclose(shares[1], [4, 1, 1, 1])
    assert drawn(display.lines_[0])[0] == [1, 2, 3, 4, 5, 6]
    assert drawn(display.dead_[0]) == ([4, 5, 6], [0, 0, 0])
    assert drawn(display.dead_[1]) == ([], [])


def test_even_use_has_a_line_for_each_size_of_a_codebook():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=(6, 4))
    assert [drawn(line) for line in display.uniform_] == [
        ([1, 4], [1 / 4, 1 / 4]),
        ([1, 6], [1 / 6, 1 / 6]),
    ]
    assert len(CodebookUsageDisplay.from_codes(CODES, 6).uniform_) == 1


def test_the_legend_counts_the_codes_in_use():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=6)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [
        "level 1: 3 of 6 codes used",
        "codes that no item has",
        "level 2: 4 of 6 codes used",
        "even use",
    ]


@given(
    arrays(np.int64, (20, 2), elements=st.integers(0, 5)),
    st.integers(6, 9),
)
def test_the_shares_of_a_level_add_up_to_one(codes, size):
    display = CodebookUsageDisplay.from_codes(codes, size)
    for line, dead in zip(display.lines_, display.dead_, strict=True):
        shares = line.get_ydata()
        assert shares.sum() == pytest.approx(1)
        assert (np.diff(shares) <= 0).all()
        assert len(dead.get_xdata()) == (shares == 0).sum()
    plt.close("all")


# Map of items


def test_each_code_has_its_items_in_a_colour_of_their_own():
    display = ItemMapDisplay.from_codes(CODES, PLACES)
    for code, points in display.points_.items():
        np.testing.assert_array_equal(points.get_offsets(), PLACES[CODES[:, 0] == code])
    assert list(display.points_) == [0, 5, 2]
    assert len({tuple(p.get_facecolor()[0]) for p in display.points_.values()}) == 3
    assert display.others_ is None


def test_codes_that_are_not_highlighted_are_grey_together():
    display = ItemMapDisplay.from_codes(CODES, PLACES, highlight=1)
    assert list(display.points_) == [0]
    np.testing.assert_array_equal(display.others_.get_offsets(), PLACES[4:])
    assert tuple(display.others_.get_facecolor()[0][:3]) == to_rgb(GREY)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["2 other codes (3 items)", "0 (4 items)"]


def test_the_codes_to_highlight_can_be_named():
    display = ItemMapDisplay.from_codes(CODES, PLACES, highlight=[2, 5])
    assert list(display.points_) == [2, 5]


def test_without_an_embedding_items_lie_in_their_principal_plane(fitted, blobs):
    display = ItemMapDisplay.from_estimator(fitted, blobs, highlight=100)
    firsts = fitted.transform(blobs)[:, 0]
    plane = PCA(n_components=2, random_state=0).fit_transform(blobs.astype(float))
    for code, points in display.points_.items():
        np.testing.assert_array_equal(points.get_offsets(), plane[firsts == code])
    assert "principal component 1" in display.ax_.get_xlabel()
    assert display.ax_.get_aspect() == 1


def test_a_given_embedding_says_where_items_lie(fitted, blobs):
    display = ItemMapDisplay.from_estimator(
        fitted, blobs, embedding=blobs[:, :2], highlight=100
    )
    drawn = np.concatenate([p.get_offsets() for p in display.points_.values()])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, blobs[:, :2].astype(float)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"embedding": PLACES[:3]}, ValueError, "embedding and codes"),
        ({"embedding": np.zeros((7, 3))}, ValueError, "2 columns"),
        ({"highlight": [1]}, ValueError, "highlight must be first codes"),
        ({"highlight": 0}, ValueError, "highlight must be at least 1"),
        ({"highlight": [0.5]}, ValueError, "highlight must be whole"),
    ],
)
def test_a_map_names_the_argument_that_it_refuses(options, error, message):
    with pytest.raises(error, match=message):
        ItemMapDisplay.from_codes(**{"codes": CODES, "embedding": PLACES} | options)


# All displays


def draw_all(model, X, axes=(None,) * 4):
    history, usage, tree, items = axes
    return [
        TrainingHistoryDisplay.from_estimator(model, ax=history),
        CodebookUsageDisplay.from_estimator(model, X, ax=usage),
        IDTreeDisplay.from_estimator(model, X, ax=tree),
        ItemMapDisplay.from_estimator(model, X, ax=items),
    ]


def test_from_estimator_draws_the_codes_that_transform_gives(fitted, blobs):
    codes = fitted.transform(blobs)
    _, usage, tree, _ = draw_all(fitted, blobs)
    np.testing.assert_array_equal(
        usage.counts, [np.bincount(column, minlength=16) for column in codes.T]
    )
    np.testing.assert_array_equal(tree.codes, codes)


def test_a_pipeline_is_drawn_by_what_reaches_the_quantizer(blobs):
    pipe = make_pipeline(StandardScaler(), small(max_epochs=2)).fit(blobs)
    of_pipe = draw_all(pipe, blobs)
    of_model = draw_all(pipe[-1], pipe[:-1].transform(blobs))
    assert of_pipe[1].counts[0].tolist() == of_model[1].counts[0].tolist()
    np.testing.assert_array_equal(of_pipe[2].codes, of_model[2].codes)
    np.testing.assert_array_equal(of_pipe[3].embedding, of_model[3].embedding)


def test_displays_draw_on_the_axes_that_they_are_given(fitted, blobs):
    figure, axes = plt.subplots(2, 2)
    for display, ax in zip(draw_all(fitted, blobs, axes.flat), axes.flat, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is figure


def test_a_display_can_be_drawn_again_with_other_options():
    display = IDTreeDisplay.from_codes(CODES)
    first = display.ax_
    assert display.plot(breadth=(1,)) is display
    assert display.ax_ is not first
    assert list(display.patches_) == [(0,)]


def test_only_a_fitted_model_is_drawn(blobs):
    with pytest.raises(NotFittedError):
        TrainingHistoryDisplay.from_estimator(small())
    with pytest.raises(NotFittedError):
        IDTreeDisplay.from_estimator(small(), blobs)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"sk-rqvae\[plot\]"):
        IDTreeDisplay.from_codes(CODES)


def test_the_package_is_imported_without_matplotlib(fresh_python):
    script = "import sys, sk_rqvae.plotting; print('matplotlib' in sys.modules)"
    assert fresh_python(script) == "False"


def contrast(one, other):
    darker, lighter = sorted(luminance(to_rgb(colour)) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [*PALETTE, GREY])
def test_every_colour_stands_out_on_light_and_on_dark(colour):
    assert contrast(colour, "white") >= LEAST_CONTRAST
    assert contrast(colour, "#14181e") >= LEAST_CONTRAST


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_lines_and_text_stand_out_from_their_background(style, fitted, blobs):
    with plt.style.context(style):
        displays = [
            *draw_all(fitted, blobs),
            IDTreeDisplay.from_codes(CODES, names="abcdefg", labels=range(7)),
        ]
    for display in displays:
        ax = display.ax_
        behind = ax.get_facecolor()[:3]
        for line in ax.lines:
            assert contrast(line.get_color(), behind) >= LEAST_CONTRAST
        for text in [ax.xaxis.label, ax.yaxis.label, ax.title]:
            assert contrast(text.get_color(), behind) >= LEAST_CONTRAST
        boxes = list(getattr(display, "patches_", {}).values())
        for text in ax.texts:
            x, y = text.get_position()
            on = [
                box.get_facecolor()[:3]
                for box in [*boxes, *getattr(display, "rests_", {}).values()]
                if box.get_x() <= x <= box.get_x() + 1
                and box.get_y() <= y <= box.get_y() + box.get_height()
            ]
            (surface,) = on or [behind]
            assert contrast(text.get_color(), surface) >= LEAST_CONTRAST
