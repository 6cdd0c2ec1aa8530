from __future__ import annotations

import io

import pytest

import place_tables
from place_tables import placed

PAGE = "Before.\n\n<!-- a -->\nold\n<!-- end of a -->\n\nAfter.\n"


def test_tables_replace_what_is_between_the_markers():
    new = placed(PAGE, "a", "| x |\n")
    assert new == "Before.\n\n<!-- a -->\n\n| x |\n\n<!-- end of a -->\n\nAfter.\n"
    assert placed(new, "a", "| x |") == new


def test_a_page_without_the_markers_is_an_error():
    with pytest.raises(ValueError, match=r"must have <!-- b --> once\. Got 0"):
        placed(PAGE, "b", "")


def test_without_tables_the_page_stays_as_it_is(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr("sys.argv", ["place_tables.py", str(page), "a"])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(SystemExit):
        place_tables.main()
    assert "must have tables" in capsys.readouterr().err
    assert page.read_text() == PAGE
