from __future__ import annotations

import pytest

from place_tables import placed

PAGE = "Before.\n\n<!-- a -->\nold\n<!-- end of a -->\n\nAfter.\n"


def test_tables_replace_what_is_between_the_markers():
    new = placed(PAGE, "a", "| x |\n")
    assert new == "Before.\n\n<!-- a -->\n\n| x |\n\n<!-- end of a -->\n\nAfter.\n"
    assert placed(new, "a", "| x |") == new


def test_a_page_without_the_markers_is_an_error():
    with pytest.raises(ValueError, match=r"must have <!-- b --> once\. Got 0"):
        placed(PAGE, "b", "")
