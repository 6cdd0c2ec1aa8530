"""Run the examples of a page, and show what they print.

    python docs/executed_page.py    writes the output into the pages themselves

Training rounds differently on other processors, so that codes differ. The site shows
what the build's machine prints; the file has what the machine printed on which this
program ran last.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

PAGES = ("getting_started",)

_BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def executed(text: str) -> str:
    """The page with the output of its examples as they run here.

    Parameters
    ----------
    text : str
        Markdown, whose blocks of `pycon` share their names.
    """
    names: dict[str, object] = {}
    return _BLOCK.sub(lambda block: f"```pycon\n{_run(block[1], names)}```", text)


def _run(block: str, names: dict[str, object]) -> str:
    shown = []
    for example in doctest.DocTestParser().get_examples(block):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "<page>", "single"), names)
        first, *others = example.source.splitlines()
        lines = [f">>> {first}", *(f"... {line}".rstrip() for line in others)]
        shown += [*lines, *printed.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in shown)


def show_output(app, name, source):
    """Replace the output in a page that is read."""
    if name in PAGES:
        source[0] = executed(source[0])


def setup(app):
    app.connect("source-read", show_output)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for page in PAGES:
        path = Path(__file__).parent / f"{page}.md"
        path.write_text(executed(path.read_text(encoding="utf-8")), encoding="utf-8")
