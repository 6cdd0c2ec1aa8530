"""Put a benchmark's tables between the markers of a page.

    python benchmarks/generative.py --table | \
        python benchmarks/place_tables.py docs/generative.md results

replaces what is between ``<!-- results -->`` and ``<!-- end of results -->``.
"""

from __future__ import annotations

import argparse
import sys

from _paths import existing_file


def placed(page: str, name: str, tables: str) -> str:
    """Replace what is between two markers.

    Raises
    ------
    ValueError
        If the page does not have each marker once.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    for marker in (start, end):
        if page.count(marker) != 1:
            raise ValueError(
                f"The page must have {marker} once. Got {page.count(marker)}."
            )
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n\n{tables.strip()}\n\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=existing_file)
    parser.add_argument("name", help="of the markers")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    tables = sys.stdin.read()
    if not tables.strip():  # the command before has failed
        parser.error("standard input must have tables. Got none; the page is unchanged")
    options.page.write_text(placed(page, options.name, tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
