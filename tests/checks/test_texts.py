from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._checks.texts import printable


@given(st.text(st.characters(categories=["L", "Cc", "Cs", "Zs"])))
def test_a_printable_text_is_one_line_that_can_be_encoded(text):
    line = printable(text)
    line.encode("utf-8")
    assert line.isprintable() or not line.isascii()
    assert len(line.splitlines()) <= 1
    assert printable(line) == line


def test_ordinary_text_is_not_changed():
    assert printable("Crème brûlée, $5 \N{SNOWMAN}") == "Crème brûlée, $5 \N{SNOWMAN}"
    assert printable("a\x1b[31mb\ud800\tc\n") == "a [31mb\N{REPLACEMENT CHARACTER} c"
    assert printable(7) == "7"
