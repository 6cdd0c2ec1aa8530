"""Load the WordNet nouns from the file in the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

DATA_MODULE = "sk_rqvae.datasets.data"
DATA_FILE = "wordnet_nouns.npz"
DESCR_FILE = "wordnet_nouns.rst"


def load_wordnet_nouns(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load 4000 English nouns and their sentence embeddings.

    Each item is a noun synset of WordNet 3.0, a set of words with one meaning, written
    as text ("lemma, lemma: definition") and embedded with all-MiniLM-L6-v2. The items
    are in random order. Their category, such as ``noun.food``, can serve as a target
    for classification, or to check that items with a common ID prefix are similar.

    =================   ======================
    Classes                                 26
    Samples total                         4000
    Dimensionality                         384
    Features             real, rows unit length
    =================   ======================

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, `data` is a pandas DataFrame and `target` a pandas Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : {ndarray, DataFrame} of shape (4000, 384), dtype float32
            The embeddings. They are stored as float16, so the norm of a row is within
            0.0001 of 1.
        target : {ndarray, Series} of shape (4000,), dtype int64
            Category of each item, from 0 to 25: its WordNet lexicographer file.
        target_names : ndarray of shape (26,), dtype str
            Names of the categories, "noun.Tops" to "noun.time".
        feature_names : list of 384 str
            "minilm_000" to "minilm_383".
        text : ndarray of shape (4000,), dtype object
            The text of each item, a str. All texts are different.
        synset : ndarray of shape (4000,), dtype object
            WordNet's key of each item, a str of eight digits. It is the byte offset of
            the synset in ``data.noun``.
        frame : DataFrame of shape (4000, 385) or None
            The features and `target`, or None if `as_frame` is False.
        DESCR : str
            The full description, with the sources of the data and their licences.
        filename : str
            Name of the data file.
        data_module : str
            The package that contains the file, for `importlib.resources`.

    (data, target) : tuple if `return_X_y` is True
        The first two attributes above.

    Raises
    ------
    ImportError
        If `as_frame` is True and pandas is not installed.

    References
    ----------
    .. [1] G. A. Miller, "WordNet: A Lexical Database for English", Communications of
       the ACM 38(11), 1995.
    .. [2] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, arXiv 1908.10084.
    .. [3] W. Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic
       Compression of Pre-Trained Transformers", NeurIPS 2020, arXiv 2002.10957.

    Examples
    --------
    >>> from sk_rqvae.datasets import load_wordnet_nouns
    >>> nouns = load_wordnet_nouns()
    >>> nouns.data.shape
    (4000, 384)
    >>> nouns.text[8]
    'bonbon: a candy that usually has a center of fondant or fruit or nuts coated ...'
    >>> str(nouns.target_names[nouns.target[8]])
    'noun.food'
    """
    arrays = _read_arrays()
    data, target = arrays["data"], arrays["target"]
    feature_names = [f"minilm_{column:03d}" for column in range(data.shape[1])]
    frame = None
    if as_frame:
        frame = _to_frame(data, target, feature_names)
        data, target = frame[feature_names], frame["target"]
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=arrays["target_names"],
        feature_names=feature_names,
        text=arrays["text"],
        synset=arrays["synset"],
        frame=frame,
        DESCR=files(DATA_MODULE).joinpath(DESCR_FILE).read_text(encoding="utf-8"),
        filename=DATA_FILE,
        data_module=DATA_MODULE,
    )


def _read_arrays() -> dict[str, NDArray[Any]]:
    with (
        files(DATA_MODULE).joinpath(DATA_FILE).open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        return {
            "data": archive["data"].astype(np.float32),
            "target": archive["target"].astype(np.int64),
            "target_names": archive["target_names"],
            # A fixed-width array of texts would take 10 MB.
            "text": archive["text"].astype(object),
            "synset": archive["synset"].astype(object),
        }


def _to_frame(
    data: NDArray[np.float32], target: NDArray[np.int64], feature_names: list[str]
) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "as_frame=True needs pandas, which is not installed: `pip install pandas`."
        ) from error
    frame = pd.DataFrame(data, columns=feature_names)
    return pd.concat([frame, pd.Series(target, name="target")], axis=1)
