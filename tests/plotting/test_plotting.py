from __future__ import annotations

import sys
import warnings
from xml.etree import ElementTree as ET

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
from sk_rqvae.plotting._colors import GREY, PALETTE, luminance

MIN_CONTRAST = 3  # of graphics, as WCAG 2.1 requires
MIN_TEXT_CONTRAST = 4.5

CODES = np.array([[0, 1], [0, 1], [0, 2], [0, 3], [5, 1], [5, 1], [2, 0]])
POINTS = np.arange(14.0).reshape(7, 2)

pytestmark = pytest.mark.usefixtures("no_screen")


def history_row(epoch, **more):
    row = {"epoch": epoch, "train_loss": 3.0 / epoch, "train_loss_best": True}
    return (
        row | {"train_reconstruction": 2.0 / epoch, "train_prefix": 1.0 / epoch} | more
    )


def drawn(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


# Training history


def legend_texts(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_each_loss_is_drawn_relative_to_the_first_epoch():
    rows = [history_row(1), history_row(2, train_prefix=1.3), history_row(3)]
    display = TrainingHistoryDisplay.from_history(rows)
    thirds = pytest.approx([1, 1 / 2, 1 / 3])
    assert drawn(display.lines_["loss"]) == ([1, 2, 3], thirds)
    assert drawn(display.lines_["reconstruction"]) == ([1, 2, 3], thirds)
    assert drawn(display.lines_["prefix"]) == (
        [1, 2, 3],
        pytest.approx([1, 1.3, 1 / 3]),
    )
    assert display.is_relative_
    assert display.best_ is None
    assert display.ax_.get_ylabel() == "loss relative to epoch 1"


def test_the_legend_has_absolute_losses_in_the_order_of_the_lines():
    rows = [history_row(1), history_row(2, train_prefix=1.3)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert legend_texts(display) == [
        "prefix: 1 → 1.3",
        "total loss: 3 → 1.5",
        "reconstruction: 2 → 1",
    ]


def test_the_held_out_curve_is_marked_where_it_is_lowest():
    losses = [0.9, 0.4, 0.6]
    rows = [history_row(i, valid_loss=loss) for i, loss in enumerate(losses, start=1)]
    display = TrainingHistoryDisplay.from_history(rows)
    # The reconstruction loss of the first epoch is 2.
    relative = pytest.approx([0.45, 0.2, 0.3])
    assert drawn(display.lines_["valid_loss"]) == ([1, 2, 3], relative)
    assert np.ravel(display.best_.get_data()).tolist() == [2, 0.2]
    held_out, fitted = display.lines_["valid_loss"], display.lines_["reconstruction"]
    assert held_out.get_color() == fitted.get_color()
    assert held_out.get_linestyle() != fitted.get_linestyle()


def test_epochs_without_a_held_out_loss_leave_a_gap():
    rows = [history_row(1), history_row(2, valid_loss=0.5), history_row(3)]
    display = TrainingHistoryDisplay.from_history(rows)
    np.testing.assert_array_equal(display.valid_loss, [np.nan, 0.5, np.nan])
    assert display.best_.get_xdata()[0] == 2


def test_epochs_that_a_callback_cut_short_are_left_out():
    rows = [history_row(1), {"epoch": 2, "batches": [{}]}, history_row(3)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert display.epochs.tolist() == [1, 3]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_epochs_are_marked_at_whole_numbers_on_any_scale(scale):
    _, ax = plt.subplots()
    ax.set_xscale(scale)
    rows = [history_row(epoch) for epoch in (1, 2, 3)]
    TrainingHistoryDisplay.from_history(rows, ax=ax)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    marks = [mark for mark in ax.get_xticks() if low <= mark <= high]
    assert marks
    assert all(mark == round(mark) for mark in marks)


def test_losses_are_absolute_if_one_is_not_positive():
    rows = [history_row(1, train_bonus=-0.5), history_row(2, train_bonus=0.0)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert not display.is_relative_
    assert drawn(display.lines_["loss"])[1] == [3.0, 1.5]
    assert drawn(display.lines_["bonus"])[1] == [-0.5, 0.0]


@pytest.mark.parametrize(("value", "text"), [(np.nan, "odd"), (0.0, "odd: 0 → 0")])
def test_losses_are_absolute_if_one_has_nothing_to_be_relative_to(value, text):
    rows = [history_row(i, train_odd=value) for i in (1, 2)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert display.lines_["loss"].get_ydata().tolist() == [3, 1.5]
    assert legend_texts(display)[-1] == text
    assert len(display.ax_.lines) == len(display.lines_)


def test_a_loss_that_begins_late_is_relative_to_its_own_first_epoch():
    rows = [history_row(1), *(history_row(i, train_late=8.0 / i) for i in (2, 4))]
    display = TrainingHistoryDisplay.from_history(rows)
    late = display.lines_["late"].get_ydata()
    np.testing.assert_allclose(late, [np.nan, 1, 0.5])
    assert legend_texts(display)[0] == "late: 4 → 2"


def test_a_loss_that_ends_early_is_listed_by_its_last_value():
    rows = [*(history_row(i, train_early=2.0 - i / 9) for i in (1, 2)), history_row(3)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert legend_texts(display)[0].startswith("early: 1.89")


def test_held_out_losses_that_are_never_finite_are_not_drawn():
    rows = [history_row(i, valid_loss=np.nan) for i in (1, 2)]
    display = TrainingHistoryDisplay.from_history(rows)
    assert "valid_loss" not in display.lines_
    assert display.best_ is None


def test_the_history_of_a_fitted_transformer_is_drawn(blobs):
    model = small(early_stopping=True).fit(blobs)
    display = TrainingHistoryDisplay.from_estimator(model)
    history = model.net_.history
    epochs, losses = drawn(display.lines_["loss"])
    assert epochs == [1, 2, 3, 4, 5]
    train = np.array(history[:, "train_loss"])
    np.testing.assert_allclose(losses, train / train[0])
    np.testing.assert_allclose(
        drawn(display.lines_["valid_loss"])[1],
        np.array(history[:, "valid_loss"]) / history[0, "train_reconstruction"],
    )
    parts = [loss for name, loss in display.losses.items() if name != "loss"]
    np.testing.assert_allclose(np.sum(parts, axis=0), train)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "at least one row"),
        ([{"epoch": 1}], "'train_loss'"),
        ([{"train_loss": 1.0}], "'epoch'"),
    ],
)
def test_a_history_without_losses_is_refused(history, message):
    with pytest.raises(ValueError, match=message):
        TrainingHistoryDisplay.from_history(history)


# Codebook usage


def test_shares_are_in_descending_order_and_unused_codes_have_crosses():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=(6, 4))
    shares = [line.get_ydata() * 7 for line in display.lines_]
    np.testing.assert_allclose(shares[0], [4, 2, 1, 0, 0, 0])
    np.testing.assert_allclose(shares[1], [4, 1, 1, 1])
    assert drawn(display.lines_[0])[0] == [1, 2, 3, 4, 5, 6]
    assert drawn(display.dead_[0]) == ([4, 5, 6], [0, 0, 0])
    assert drawn(display.dead_[1]) == ([], [])


def test_even_use_has_one_line_per_codebook_size():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=(6, 4))
    assert [drawn(line) for line in display.uniform_] == [
        ([1, 4], [1 / 4, 1 / 4]),
        ([1, 6], [1 / 6, 1 / 6]),
    ]
    assert len(CodebookUsageDisplay.from_codes(CODES, 6).uniform_) == 1


def test_the_legend_counts_the_used_codes():
    display = CodebookUsageDisplay.from_codes(CODES, codebook_size=6)
    assert legend_texts(display) == [
        "level 1: 3 of 6 codes used",
        "level 2: 4 of 6 codes used",
        "even use",
        "codes without items",
    ]


def test_the_axis_of_shares_begins_at_zero():
    codes = np.arange(8).reshape(4, 2)
    assert CodebookUsageDisplay.from_codes(codes, 8).ax_.get_ylim()[0] == 0


def test_a_level_of_one_code_is_drawn_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = CodebookUsageDisplay.from_codes([[0], [0]], codebook_size=1)
    assert display.ax_.get_xlim() == (1, 2)


@given(
    arrays(np.int64, (20, 2), elements=st.integers(0, 5)),
    st.integers(6, 9),
)
def test_the_shares_of_each_level_add_up_to_one(codes, size):
    display = CodebookUsageDisplay.from_codes(codes, size)
    for line, dead in zip(display.lines_, display.dead_, strict=True):
        shares = line.get_ydata()
        assert shares.sum() == pytest.approx(1)
        assert (np.diff(shares) <= 0).all()
        assert len(dead.get_xdata()) == (shares == 0).sum()
    plt.close("all")


# Item map


def test_each_highlighted_code_has_its_own_colour():
    display = ItemMapDisplay.from_codes(CODES, POINTS)
    for code, points in display.points_.items():
        np.testing.assert_array_equal(points.get_offsets(), POINTS[CODES[:, 0] == code])
    assert list(display.points_) == [0, 5, 2]
    assert len({tuple(p.get_facecolor()[0]) for p in display.points_.values()}) == 3
    assert display.others_ is None


def test_other_codes_are_grey():
    display = ItemMapDisplay.from_codes(CODES, POINTS, highlight=1)
    assert list(display.points_) == [0]
    np.testing.assert_array_equal(display.others_.get_offsets(), POINTS[4:])
    assert tuple(display.others_.get_facecolor()[0][:3]) == to_rgb(GREY)
    assert legend_texts(display) == ["0 (4 items)", "2 other codes (3 items)"]


def test_a_code_is_written_at_one_of_its_items_in_the_densest_part():
    points = np.array([[0, 0], [9, 9], [0, 0.1], [0.1, 0], [50, 0], [51, 0], [52, 0]])
    codes = [[0], [0], [0], [0], [1], [1], [1]]
    display = ItemMapDisplay.from_codes(codes, points)
    places = {text.get_text(): text.get_position() for text in display.ax_.texts}
    assert max(places["0"]) <= 0.1
    assert places["1"] in {(50, 0), (51, 0), (52, 0)}


def test_items_fill_the_axes_of_a_map():
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, size=(7, 2)) * [60, 40]
    ax = ItemMapDisplay.from_codes(CODES, points).ax_
    ax.figure.canvas.draw()
    assert np.ptp(points[:, 0]) > 0.9 * np.ptp(ax.get_xlim())
    assert np.ptp(points[:, 1]) > 0.9 * np.ptp(ax.get_ylim())


def test_the_codes_to_highlight_can_be_chosen():
    display = ItemMapDisplay.from_codes(CODES, POINTS, highlight=[2, 5])
    assert list(display.points_) == [2, 5]


def test_codes_to_highlight_may_be_repeated_and_a_number_may_be_an_array():
    display = ItemMapDisplay.from_codes(CODES, POINTS, highlight=[2, 5, 2])
    assert list(display.points_) == [2, 5]
    display = ItemMapDisplay.from_codes(CODES, POINTS, highlight=np.array(1))
    assert list(display.points_) == [0]


def test_without_an_embedding_items_are_drawn_by_principal_components(fitted, blobs):
    display = ItemMapDisplay.from_estimator(fitted, blobs, highlight=100)
    firsts = fitted.transform(blobs)[:, 0]
    plane = PCA(n_components=2, random_state=0).fit_transform(blobs.astype(float))
    for code, points in display.points_.items():
        np.testing.assert_array_equal(points.get_offsets(), plane[firsts == code])
    assert "principal component 1" in display.ax_.get_xlabel()
    assert display.ax_.get_aspect() == 1


def test_items_are_drawn_at_the_given_embedding(fitted, blobs):
    display = ItemMapDisplay.from_estimator(
        fitted, blobs, embedding=blobs[:, :2], highlight=100
    )
    drawn = np.concatenate([p.get_offsets() for p in display.points_.values()])
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, blobs[:, :2].astype(float)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"embedding": POINTS[:3]}, ValueError, "embedding and codes"),
        ({"embedding": np.zeros((7, 3))}, ValueError, "2 columns"),
        ({"highlight": [1]}, ValueError, "highlight must name first codes"),
        ({"highlight": 0}, ValueError, "highlight must be at least 1"),
        ({"highlight": 2.5}, TypeError, "highlight must be an int. Got 2.5"),
        ({"highlight": [0.5]}, ValueError, "highlight must be whole"),
        ({"highlight": []}, ValueError, "highlight must have at least one code"),
    ],
)
def test_the_map_names_the_invalid_argument(options, error, message):
    with pytest.raises(error, match=message):
        ItemMapDisplay.from_codes(**{"codes": CODES, "embedding": POINTS} | options)


def test_a_plane_needs_two_rows_and_two_columns(fitted, blobs):
    one_column = small(max_epochs=1, embed_dim=1).fit(blobs[:, :1])
    for model, X in ((fitted, blobs[:1]), (one_column, blobs[:, :1])):
        with pytest.raises(ValueError, match="X must have at least two rows and two"):
            ItemMapDisplay.from_estimator(model, X)


def test_a_plane_needs_different_rows(fitted, blobs):
    with pytest.raises(ValueError, match="X must have different rows"):
        ItemMapDisplay.from_estimator(fitted, np.tile(blobs[:1], (5, 1)))


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


def test_a_pipeline_is_drawn_by_the_input_of_its_quantizer(blobs):
    pipe = make_pipeline(StandardScaler(), small(max_epochs=2)).fit(blobs)
    of_pipe = draw_all(pipe, blobs)
    of_model = draw_all(pipe[-1], pipe[:-1].transform(blobs))
    assert of_pipe[1].counts[0].tolist() == of_model[1].counts[0].tolist()
    np.testing.assert_array_equal(of_pipe[2].codes, of_model[2].codes)
    np.testing.assert_array_equal(of_pipe[3].embedding, of_model[3].embedding)


def test_displays_draw_on_given_axes(fitted, blobs):
    figure, axes = plt.subplots(2, 2)
    for display, ax in zip(draw_all(fitted, blobs, axes.flat), axes.flat, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is figure


def test_a_display_can_be_redrawn_with_other_options():
    display = IDTreeDisplay.from_codes(CODES)
    first = display.ax_
    assert display.plot(breadth=(1,)) is display
    assert display.ax_ is not first
    assert list(display.patches_) == [(0,)]


def test_an_unfitted_model_is_an_error(blobs):
    with pytest.raises(NotFittedError):
        TrainingHistoryDisplay.from_estimator(small())
    with pytest.raises(NotFittedError):
        IDTreeDisplay.from_estimator(small(), blobs)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"sk-rqvae\[plot\]"):
        IDTreeDisplay.from_codes(CODES)


def contrast(one, other):
    darker, lighter = sorted(luminance(to_rgb(colour)) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colour", [*PALETTE, GREY])
def test_every_colour_is_visible_on_light_and_on_dark(colour):
    assert contrast(colour, "white") >= MIN_CONTRAST
    assert contrast(colour, "#14181e") >= MIN_CONTRAST


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_lines_and_texts_are_readable_on_their_background(style, fitted, blobs):
    with plt.style.context(style):
        displays = [
            *draw_all(fitted, blobs),
            IDTreeDisplay.from_codes(CODES, names=list("abcdefg"), labels=range(7)),
        ]
    for display in displays:
        ax = display.ax_
        behind = ax.get_facecolor()[:3]
        for line in ax.lines:
            assert contrast(line.get_color(), behind) >= MIN_CONTRAST
        for text in [ax.xaxis.label, ax.yaxis.label, ax.title]:
            assert contrast(text.get_color(), behind) >= MIN_CONTRAST
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
            assert contrast(text.get_color(), surface) >= MIN_TEXT_CONTRAST


AWKWARD = ["$5 off", "$x^", "_hidden", "a\nb\tc", "\ud800", '<b> & "q"', "\x1b[31m"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_awkward_texts_are_drawn_literally(tmp_path, suffix):
    history = [history_row(1, **{"train_$a_$": 1.0, "train__b": 1.0}), history_row(2)]
    displays = [
        IDTreeDisplay.from_codes(CODES, names=AWKWARD, labels=AWKWARD),
        TrainingHistoryDisplay.from_history(history),
    ]
    for number, display in enumerate(displays):
        path = tmp_path / f"{number}.{suffix}"
        display.figure_.savefig(path)
        if suffix == "svg":
            ET.parse(path)
    assert "$a_$: 1 → 1" in legend_texts(displays[1])
    assert "_b: 1 → 1" in legend_texts(displays[1])
    labels = [text.get_text() for text in displays[0].figure_.legends[0].get_texts()]
    assert {"$5 off", "_hidden", "a b c"} <= set(labels)
    on_axes = {text.get_text() for text in displays[0].ax_.texts}
    assert {"$5 off, $x^", '\N{REPLACEMENT CHARACTER}, <b> & "q"', "[31m"} <= on_axes
