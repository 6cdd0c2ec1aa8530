"""The data sets by name, and their prepared form: small arrays that need no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from _contract import Matrix
from generative_recommender.amazon import load_amazon
from generative_recommender.book_crossing import load_book_crossing
from generative_recommender.embeddings import EMBEDDERS
from generative_recommender.interactions import Interactions, Items
from generative_recommender.made import load_made
from generative_recommender.movielens import load_movielens_1m, load_movielens_100k
from generative_recommender.split import Split, split_histories
from sk_rqvae._persistence.atomic import atomic_write


@dataclass(frozen=True)
class Source:
    """Where a data set is from, and the sizes that fit it.

    Attributes
    ----------
    title : str
    load : callable
        Takes a folder for what is downloaded.
    codebook_size : int
        Codes a level.
    window : int
        Most items of a history that recommenders read.
    batch_size : int
        Users a training step.
    n_steps : int
        Steps of a training.
    """

    title: str
    load: Callable[[Path], Interactions]
    codebook_size: int
    window: int
    batch_size: int
    n_steps: int


SOURCES = {
    "ml-1m": Source("MovieLens-1M", load_movielens_1m, 64, 25, 32, 2000),
    "book-crossing": Source("Book-Crossing", load_book_crossing, 128, 10, 128, 1200),
    "ml-100k": Source("MovieLens-100K", load_movielens_100k, 32, 25, 32, 1000),
    "beauty": Source(
        "Amazon Beauty", partial(load_amazon, "beauty"), 256, 10, 128, 1200
    ),
    "sports": Source(
        "Amazon Sports", partial(load_amazon, "sports"), 256, 10, 128, 1200
    ),
    "toys": Source("Amazon Toys", partial(load_amazon, "toys"), 256, 10, 128, 1200),
    "made": Source("Made-up", load_made, 8, 10, 32, 8),
}
BY_DEFAULT = ("ml-1m", "book-crossing", "ml-100k")


@dataclass(frozen=True)
class DataSet:
    """A prepared data set.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_items, n_features), float32
        Embeddings of the texts.
    histories : list of ndarray
    digest : str
        Changes with the content.
    """

    name: str
    X: Matrix
    histories: list[Items]
    digest: str

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    @property
    def n_items(self) -> int:
        return len(self.X)

    @cached_property
    def split(self) -> Split:
        return split_histories(self.histories, self.n_items)


def prepare(name: str, cache: Path, embedder: str = "minilm") -> Path:
    """Write embeddings and histories of a data set to `cache`, unless they are there.

    Embeddings are rounded to float16.
    """
    path = _path(name, cache)
    if path.exists():
        return path
    wheels = cache / "wheels"
    data = SOURCES[name].load(wheels)
    X = EMBEDDERS[embedder](data.texts, wheels)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            X=X.astype(np.float16),
            items=np.concatenate(data.histories).astype(np.uint16),
            lengths=np.array([len(history) for history in data.histories]),
        )
    return path


def load(name: str, cache: Path) -> DataSet:
    """Read a prepared data set.

    Raises
    ------
    FileNotFoundError
        If it has not been prepared.
    """
    path = _path(name, cache)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing. Run with --prepare where there is a network."
        )
    with np.load(path) as arrays:
        X, items, lengths = arrays["X"], arrays["items"], arrays["lengths"]
    content = sha256()
    for array in (X, items, lengths):
        content.update(np.ascontiguousarray(array).tobytes())
    histories = np.split(items.astype(np.int64), np.cumsum(lengths)[:-1])
    return DataSet(name, X.astype(np.float32), histories, content.hexdigest()[:16])


def _path(name: str, cache: Path) -> Path:
    return cache / "prepared" / f"{name}.npz"
