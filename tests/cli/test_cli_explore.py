from __future__ import annotations

import json
import re

import numpy as np
import pytest
from command_line import failure, frame, run, write_frame, write_rows


@pytest.fixture(scope="module")
def rows(blobs):
    return blobs[:80]


@pytest.fixture(scope="module")
def items(rows, tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("items") / "items.npy", rows)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fitted.save_pretrained(folder)
    return folder


def items_of(page):
    """The items that the script of a page reads."""
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*)</script>', text)[1])


def write_names(path, names):
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return path


def test_the_page_has_the_ids_that_transform_gives(
    fitted, rows, items, model, tmp_path, capsys
):
    page = tmp_path / "tree.html"
    assert run("explore", model, items, "-o", page) == 0
    shown = items_of(page)
    assert "names" not in shown
    np.testing.assert_array_equal(
        np.transpose(shown["codes"]), fitted.transform(rows)[shown["rows"]]
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("sk-rqvae: 80 items, ")
    assert said.err.endswith(f"written to {page}\n")
    assert "<title>items</title>" in page.read_text(encoding="utf-8")


def test_items_are_named_by_a_file_with_a_name_a_line(items, model, tmp_path):
    names = [f"naïve {row}, <b>" for row in range(80)]
    path = write_names(tmp_path / "names.txt", names)
    page = tmp_path / "tree.html"
    options = ("--names", path, "--title", "A & B", "--quiet")
    assert run("explore", model, items, "-o", page, *options) == 0
    shown = items_of(page)
    assert shown["names"] == [names[row] for row in shown["rows"]]
    assert "<title>A &amp; B</title>" in page.read_text(encoding="utf-8")


def test_the_byte_order_mark_of_editors_is_not_part_of_a_name(items, model, tmp_path):
    names = write_names(tmp_path / "names.txt", ["\ufefffirst", *["other"] * 79])
    page = tmp_path / "tree.html"
    assert run("explore", model, items, "-o", page, "--names", names, "--quiet") == 0
    assert set(items_of(page)["names"]) == {"first", "other"}


def test_items_of_a_table_are_named_by_their_keys(rows, model, tmp_path):
    keys = [f"B{row}" for row in range(80)]
    path = write_frame(tmp_path / "items.csv", frame(rows, sku=keys))
    page = tmp_path / "tree.html"
    command = ("explore", model, path, "-o", page, "--item-column", "sku")
    assert run(*command, "--quiet") == 0
    shown = items_of(page)
    assert shown["names"] == [keys[row] for row in shown["rows"]]


def test_each_row_needs_a_name(items, model, tmp_path, capsys):
    names = write_names(tmp_path / "names.txt", ["a", "b"])
    page = tmp_path / "tree.html"
    said = failure(capsys, "explore", model, items, "-o", page, "--names", names)
    assert "a line for each of the 80 rows" in said
    assert not page.exists()


def test_a_page_is_not_replaced_unless_asked_for(items, model, tmp_path, capsys):
    page = tmp_path / "tree.html"
    page.write_text("mine")
    assert "Pass --force" in failure(capsys, "explore", model, items, "-o", page)
    assert page.read_text() == "mine"
    assert run("explore", model, items, "-o", page, "--force", "--quiet") == 0
    assert len(items_of(page)["rows"]) == 80


def test_a_name_without_html_is_refused_before_the_work(items, model, capsys):
    said = failure(capsys, "explore", model, items, "-o", "tree.txt", status=2)
    assert "must end in .html" in said


def test_names_that_are_no_text_are_refused(items, model, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_bytes(b"\xff\xfe\n" * 80)
    page = tmp_path / "tree.html"
    said = failure(capsys, "explore", model, items, "-o", page, "--names", names)
    assert "must be UTF-8 text" in said
