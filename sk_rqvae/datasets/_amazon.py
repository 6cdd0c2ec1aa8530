"""Fetch the Amazon review data of 2014."""

from __future__ import annotations

from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from sk_rqvae._checks.scalars import check_choice, check_int, check_real
from sk_rqvae.datasets._amazon_records import (
    Item,
    Reviews,
    read_items,
    read_reviews,
)
from sk_rqvae.datasets._download import fetch_gzip

_BASE_URL = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_FILE_NAMES = {
    "beauty": "Beauty",
    "clothing": "Clothing_Shoes_and_Jewelry",
    "sports": "Sports_and_Outdoors",
    "toys": "Toys_and_Games",
}
_FOLDER = "amazon_items"
_DATA_MODULE = "sk_rqvae.datasets.data"
_DESCR_FILE = "amazon_items.rst"
_MIN_REVIEWS = 3
_NO_CATEGORY = "unknown"


class _Sequences(NamedTuple):
    """The items of each user in the order of the reviews."""

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    sequences: list[NDArray[np.int64]]


def fetch_amazon_items(
    category: str = "beauty",
    *,
    embedder: Any = None,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    base_url: str = _BASE_URL,
    n_retries: int = 3,
    delay: float = 1.0,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Load Amazon items with their texts, and the sequence of items of each user.

    These are the 5-core review data of 2014 [1]_, in which every user and every item
    has at least five reviews. TIGER [2]_ and many later papers report results on them.
    The first call downloads them. The transformer `embedder` turns the texts into
    vectors.

    ==========   ======   ======
    category      items    users
    ==========   ======   ======
    beauty        12101    22363
    sports        18357    35598
    toys          11924    19412
    ==========   ======   ======

    The numbers are taken from [2]_, which does not use clothing.

    Parameters
    ----------
    category : {"beauty", "clothing", "sports", "toys"}, default="beauty"
        Department of the shop.
    embedder : transformer, default=None
        Its `fit_transform` computes `data` from `text`. It is fitted in place, so that
        it can embed new texts later. If None, `data` is None.
    data_home : str or path-like, default=None
        Files are stored in the folder ``amazon_items`` of this folder. The default is
        that of :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        If False, a missing file raises an OSError instead of being downloaded.
    base_url : str
        URL of the folder with the files ``reviews_*_5.json.gz`` and ``meta_*.json.gz``.
        The default is the server of the data's authors, by https. A mirror with plain
        http works, but the first download from it is not authenticated.
    n_retries : int, default=3
        Maximum number of retries after a connection error.
    delay : float, default=1.0
        Seconds between retries.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch. Needs an embedder.
    as_frame : bool, default=False
        If True, `data` is a pandas DataFrame, and `target` and `text` are pandas
        Series. `embedder` then receives a Series, which skrub's transformers need.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : {ndarray, DataFrame} of shape (n_items, n_features) or None
            The output of `embedder` for `text`.
        target : {ndarray, Series} of shape (n_items,), dtype int64
            Category of each item, as an index into `target_names`: the entry below the
            root in the item's first category path.
        target_names : ndarray of str
            Names of the categories, sorted. Items without a category are "unknown".
        feature_names : list of str or None
            Column names of `data`.
        text : {ndarray, Series} of shape (n_items,), dtype object
            Title, brand, first category path and price in one str. Empty if all of them
            are missing.
        title, description, brand : ndarray of shape (n_items,), dtype object
            One str per item, empty if missing.
        price : ndarray of shape (n_items,), dtype float64
            In dollars, NaN if missing.
        categories : list of n_items tuples
            Category paths of each item: tuples of str, from the root to the leaf.
        item_ids : ndarray of shape (n_items,), dtype object
            Amazon's keys of the items (ASIN), sorted.
        user_ids : ndarray of shape (n_users,), dtype object
            Keys of the reviewers, sorted.
        sequences : list of n_users ndarrays, dtype int64
            Row indices of the items that each user reviewed, oldest first. Reviews of
            the same time keep the order of the file.
        train : list of n_users ndarrays, dtype int64
            `sequences` without the last two entries of each.
        valid, test : ndarray of shape (n_users,), dtype int64
            The second to last item and the last item of each user: the leave-one-out
            split of [2]_ and [3]_.
        frame : DataFrame with n_items rows or None
            The fields of the items and `target`, or None if `as_frame` is False.
        DESCR : str
            The full description.

    (data, target) : tuple if `return_X_y` is True
        The first two attributes above.

    Raises
    ------
    OSError
        If a file is missing and is not downloaded, is not a regular file, or does not
        match the SHA-256 of the first download.
    TypeError, ValueError
        If an argument is invalid, a line of a file cannot be parsed, or `embedder` does
        not return one dense row per item.
    ImportError
        If `as_frame` is True and pandas is not installed.

    Warns
    -----
    UserWarning
        If a failed download is tried again, or a damaged file is replaced.

    See Also
    --------
    load_wordnet_nouns : A small data set with embeddings, part of the package.

    Notes
    -----
    The server publishes no checksums. The SHA-256 of the first download is written
    beside the file, and every later read is compared with it. An interrupted download
    is resumed, in this call or a later one.

    References
    ----------
    .. [1] J. McAuley, C. Targett, Q. Shi and A. van den Hengel, "Image-based
       Recommendations on Styles and Substitutes", SIGIR 2015, arXiv 1506.04757.
    .. [2] S. Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS
       2023, arXiv 2305.05065.
    .. [3] W.-C. Kang and J. McAuley, "Self-Attentive Sequential Recommendation", ICDM
       2018, arXiv 1808.09781.

    Examples
    --------
    Files that exist already are not downloaded. Here, two small files of the same
    format are written first:

    >>> import gzip, json, pathlib, tempfile
    >>> from sk_rqvae.datasets import fetch_amazon_items
    >>> def write(path, records):
    ...     with gzip.open(path, "wt") as file:
    ...         for record in records:
    ...             print(json.dumps(record), file=file)
    >>> items = [{"asin": "B1", "title": "Rose soap"}, {"asin": "B2", "title": "Comb"}]
    >>> reviews = [
    ...     {"reviewerID": "A1", "asin": asin, "unixReviewTime": time}
    ...     for asin, time in [("B2", 20), ("B1", 10), ("B1", 30)]
    ... ]
    >>> with tempfile.TemporaryDirectory() as home:
    ...     folder = pathlib.Path(home, "amazon_items")
    ...     folder.mkdir()
    ...     write(folder / "meta_Beauty.json.gz", items)
    ...     write(folder / "reviews_Beauty_5.json.gz", reviews)
    ...     beauty = fetch_amazon_items(data_home=home, download_if_missing=False)
    >>> beauty.text[beauty.sequences[0]].tolist()
    ['Rose soap', 'Comb', 'Rose soap']
    >>> beauty.train[0].tolist(), beauty.valid.tolist(), beauty.test.tolist()
    ([0], [1], [0])
    """
    check_choice("category", category, sorted(_FILE_NAMES))
    _check_download(base_url, n_retries, delay)
    _check_embedder(embedder, return_X_y)
    pandas = _pandas() if as_frame else None

    folder = Path(get_data_home(data_home)) / _FOLDER
    name = _FILE_NAMES[category]
    reviews_path = folder / f"reviews_{name}_5.json.gz"
    items_path = folder / f"meta_{name}.json.gz"
    for path in (reviews_path, items_path):
        fetch_gzip(
            f"{base_url.rstrip('/')}/{path.name}",
            path,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
    users = _sequences(read_reviews(reviews_path), reviews_path)
    bunch = _describe(read_items(items_path, set(users.item_ids)), users)
    if pandas is not None:
        _convert_to_frames(bunch, pandas)
    if embedder is not None:
        _embed(bunch, embedder, pandas)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _check_download(base_url: Any, n_retries: Any, delay: Any) -> None:
    if not isinstance(base_url, str) or not base_url.startswith(
        ("http://", "https://")
    ):
        raise ValueError(
            f"base_url must begin with 'http://' or 'https://'. Got {base_url!r}."
        )
    check_int("n_retries", n_retries, minimum=0)
    check_real("delay", delay, low=0)


def _check_embedder(embedder: Any, return_X_y: bool) -> None:
    if embedder is None:
        if return_X_y:
            raise ValueError("return_X_y=True needs an embedder. Got None.")
        return
    if isinstance(embedder, type) or not hasattr(embedder, "fit_transform"):
        raise TypeError(
            f"embedder must be a transformer with fit_transform. Got {embedder!r}."
        )


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "as_frame=True needs pandas, which is not installed: `pip install pandas`."
        ) from error
    return pd


def _sequences(reviews: Reviews, path: Path) -> _Sequences:
    user_ids, users = np.unique(reviews.users, return_inverse=True)
    item_ids, items = np.unique(reviews.items, return_inverse=True)
    counts = np.bincount(users)
    if counts.min() < _MIN_REVIEWS:
        raise ValueError(
            f"{path} must have at least {_MIN_REVIEWS} reviews by every user. Got "
            f"{counts.min()} by {str(user_ids[counts.argmin()])!r}."
        )
    order = np.lexsort((reviews.times, users))
    sequences = np.split(items[order].astype(np.int64), np.cumsum(counts)[:-1])
    return _Sequences(user_ids.astype(object), item_ids.astype(object), sequences)


def _describe(known: dict[str, Item], users: _Sequences) -> Bunch:
    items = [known.get(key, Item()) for key in users.item_ids]
    target_names, target = np.unique(
        [_category(item) for item in items], return_inverse=True
    )
    return Bunch(
        data=None,
        target=target.astype(np.int64),
        target_names=target_names,
        feature_names=None,
        text=_objects(map(_text, items)),
        title=_objects(item.title for item in items),
        description=_objects(item.description for item in items),
        brand=_objects(item.brand for item in items),
        price=np.array([item.price for item in items]),
        categories=[item.categories for item in items],
        item_ids=users.item_ids,
        user_ids=users.user_ids,
        sequences=users.sequences,
        train=[rows[:-2] for rows in users.sequences],
        valid=np.array([rows[-2] for rows in users.sequences]),
        test=np.array([rows[-1] for rows in users.sequences]),
        frame=None,
        DESCR=files(_DATA_MODULE).joinpath(_DESCR_FILE).read_text(encoding="utf-8"),
    )


def _objects(values: Any) -> NDArray[Any]:
    return np.array(list(values), dtype=object)


def _category(item: Item) -> str:
    path = item.categories[0] if item.categories else ()
    return path[1] if len(path) > 1 else _NO_CATEGORY


def _text(item: Item) -> str:
    path = " > ".join(item.categories[0]) if item.categories else ""
    price = "" if np.isnan(item.price) else f"${item.price:.2f}"
    return ". ".join(filter(None, (item.title, item.brand, path, price)))


def _convert_to_frames(bunch: Bunch, pandas: Any) -> None:
    fields = ("title", "text", "description", "brand", "price", "categories", "target")
    bunch.frame = pandas.DataFrame(
        {"item_id": bunch.item_ids} | {name: bunch[name] for name in fields}
    )
    bunch.text, bunch.target = bunch.frame["text"], bunch.frame["target"]


def _embed(bunch: Bunch, embedder: Any, pandas: Any) -> None:
    rows = embedder.fit_transform(bunch.text)
    if issparse(rows):
        raise ValueError(
            "embedder must return dense rows: put TruncatedSVD after it in a Pipeline. "
            f"Got {type(rows).__name__}."
        )
    data = np.asarray(rows)
    if data.ndim != 2 or len(data) != len(bunch.text):
        raise ValueError(
            f"embedder must return one row for each of {len(bunch.text)} texts. Got an "
            f"array of shape {data.shape}."
        )
    names = getattr(rows, "columns", None)
    if names is None:
        names = [f"embedding_{column:03d}" for column in range(data.shape[1])]
    bunch.feature_names = list(names)
    bunch.data = data
    if pandas is not None:
        bunch.data = pandas.DataFrame(data, columns=bunch.feature_names)
