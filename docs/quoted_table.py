"""The directive `quoted-table`: some rows and columns of a table of another page.

A number then stands in one place. In Markdown,

    ```{quoted-table} benchmarks.md
    :rows: ours-ste = sk_rqvae, faiss-beam5 = faiss RQ
    :columns: explained variance, seconds = seconds of fit
    ```

shows two rows of the first table of `benchmarks.md`, under the names after the equals
signs. The first column is always shown. Where the table is older than the defaults, so
says a line below it.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from measured import RECIPES, marks, recipe

Table = list[list[str]]
OLDER = "*These numbers are of older defaults, at commit {commit}.*"


class QuotedTable(SphinxDirective):
    required_arguments = 1
    option_spec = {"rows": str, "columns": str}  # noqa: RUF012 - as docutils has it

    def run(self):
        path = Path(self.env.srcdir) / self.arguments[0]
        self.env.note_dependency(str(path))
        text = path.read_text(encoding="utf-8")
        header, *rows = first_table(text)
        by_name = {row[0]: row for row in rows}
        columns = {header[0]: "", **renamed(self.options["columns"])}
        chosen = renamed(self.options["rows"])
        for missing in [*(set(chosen) - set(by_name)), *(set(columns) - set(header))]:
            raise self.error(f"The first table of {path.name} has no {missing!r}.")
        positions = [header.index(name) for name in columns]
        lines = [[*columns.values()], ["---", *["---:"] * (len(columns) - 1)]]
        for name, shown in chosen.items():
            cells = [by_name[name][position] for position in positions]
            lines.append([shown, *cells[1:]])
        content = [f"| {' | '.join(line)} |" for line in lines]
        content += ["", *older(text)]
        return self.parse_text_to_nodes("\n".join(content))


def older(text: str) -> list[str]:
    """A line about the first table of a page, if it is older than the defaults."""
    mark = marks(text)[0]
    if mark.recipe in RECIPES and mark.digest == recipe(mark.recipe):
        return []
    return [OLDER.format(commit=mark.commit)]


def first_table(text: str) -> Table:
    """The cells of the header and the rows."""
    table: Table = []
    for line in text.splitlines():
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    header, _, *rows = table
    return [header, *rows]


def renamed(option: str) -> dict[str, str]:
    """Names in the table, and as they are shown."""
    pairs = [pair.partition("=") for pair in option.split(",")]
    return {name.strip(): (new or name).strip() for name, _, new in pairs}


def setup(app: Sphinx):
    app.add_directive("quoted-table", QuotedTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
