"""The methods that are compared, by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from _contract import Method, Task
from _faiss import fit_faiss, fit_local_search, fit_rotated_product
from _lc_rec import fit_lc_rec
from _ours import fit_initial, fit_transformer
from _residual_kmeans import fit_residual_kmeans
from _semantic_id import fit_semantic_id_rqkmeans, fit_semantic_id_rqvae
from _vector_quantize import fit_vector_quantize
from sk_rqvae import QuantizeForwardMode, RQVAETransformer

OURS = f"ours-{RQVAETransformer().codebook_mode}"
FAISS = "faiss-beam"
PACKAGES = (
    "sk-rqvae",
    "torch",
    "numpy",
    "scikit-learn",
    "faiss-cpu",
    "semantic-id",
    "vector-quantize-pytorch",
)
LC_REC = "lc-rec"
_EPOCHS = 60
_LONG = 300
_PAPERS = f"MLP 512-256-128, latent 32, AdamW 1e-3, batches of 1024, {_EPOCHS} epochs"


def all_methods() -> list[Method]:
    return [
        *map(_transformer, QuantizeForwardMode),
        Method(
            "ours-embed_dim=32",
            f"RQVAETransformer, defaults but for embed_dim=32, max_epochs={_EPOCHS}",
            partial(fit_transformer, embed_dim=32, max_epochs=_EPOCHS),
        ),
        Method(
            "ours-greedy",
            "RQVAETransformer, defaults but for n_beams=1",
            partial(fit_transformer, n_beams=1),
        ),
        Method(
            "ours-initial",
            "RQVAETransformer before training: residual k-means with beams (RQ-KMeans+ "
            "is that with training)",
            fit_initial,
        ),
        *map(_from_random_codebooks, QuantizeForwardMode),
        *map(_faiss, (1, 5)),
        # Not one of the beams that errors are divided by.
        Method(
            "faiss-16",
            "faiss ResidualQuantizer, max_beam_size=16",
            partial(fit_faiss, n_beams=16),
            needs="faiss",
            powers_of_two=True,
        ),
        Method(
            "faiss-lsq",
            "faiss LocalSearchQuantizer, defaults",
            fit_local_search,
            needs="faiss",
            powers_of_two=True,
        ),
        Method(
            "faiss-opq",
            "faiss OPQMatrix and ProductQuantizer, defaults",
            fit_rotated_product,
            needs="faiss",
            powers_of_two=True,
        ),
        Method(
            "kmeans-residual",
            "scikit-learn's KMeans, level after level, defaults",
            fit_residual_kmeans,
        ),
        *_semantic_id(),
        _vector_quantize("ste", "straight-through", rotation_trick=False),
        _vector_quantize("rotation", "rotation trick", rotation_trick=True),
        Method(
            LC_REC,
            f"a plain RQ-VAE like LC-Rec's: {_PAPERS}, k-means on the first batch, "
            "straight-through",
            fit_lc_rec,
        ),
        Method(
            f"{LC_REC}-{_LONG}",
            f"the same for {_LONG} epochs; LC-Rec's own script makes 10000",
            partial(fit_lc_rec, epochs=_LONG),
        ),
    ]


def choose_methods(prefixes: Iterable[str] | None) -> list[Method]:
    """The methods whose names start with one of `prefixes`, or those by default."""
    methods = all_methods()
    if prefixes is None:
        return [method for method in methods if method.by_default]
    prefixes = tuple(prefixes)
    names = [method.name for method in methods]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise SystemExit(
                "--methods must be beginnings of the names "
                f"{', '.join(names)}. Got {prefix}."
            )
    return [method for method in methods if method.name.startswith(prefixes)]


def obstacle(method: Method, task: Task) -> str | None:
    """Why a method cannot run, None if it can. Imports the package it needs."""
    if method.needs is not None and not _imports(method.needs):
        return f'{method.needs} is missing: pip install "sk-rqvae[bench]"'
    if method.powers_of_two and task.n_codes.bit_count() != 1:
        return f"codebooks must have a power of two codes, not {task.n_codes}"
    return None


def package_versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def _imports(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return False
    return True


def _transformer(mode: QuantizeForwardMode) -> Method:
    name = f"ours-{mode}"
    rest = "the default" if name == OURS else "other parameters at their defaults"
    return Method(
        name,
        f'RQVAETransformer, codebook_mode="{mode}", {rest}',
        partial(fit_transformer, codebook_mode=mode),
    )


def _from_random_codebooks(mode: QuantizeForwardMode) -> Method:
    return Method(
        f"random-{mode}",
        f'RQVAETransformer, codebook_mode="{mode}", codebook_kmeans_init=False',
        partial(fit_transformer, codebook_mode=mode, codebook_kmeans_init=False),
        by_default=False,
    )


def _faiss(n_beams: int) -> Method:
    return Method(
        f"{FAISS}{n_beams}",
        f"faiss ResidualQuantizer, max_beam_size={n_beams}",
        partial(fit_faiss, n_beams=n_beams),
        needs="faiss",
        powers_of_two=True,
    )


def _semantic_id() -> list[Method]:
    tuned: dict[str, Any] = {
        "epochs": 60,
        "e_dim": 32,
        "kmeans_init": True,
        "lr": 1e-3,
        "batch_size": 1024,
    }
    return [
        Method(
            "semantic-id-rqvae",
            "semantic-id RQVAE, defaults (verbose=False restores the first epoch)",
            fit_semantic_id_rqvae,
            needs="semantic_id",
        ),
        Method(
            "semantic-id-rqvae-verbose",
            "semantic-id RQVAE, defaults but for verbose=True, which restores the "
            "epoch with the fewest collisions",
            partial(fit_semantic_id_rqvae, verbose=True),
            needs="semantic_id",
        ),
        Method(
            "semantic-id-rqvae-tuned",
            f"semantic-id RQVAE, verbose=True, {_PAPERS}, kmeans_init=True",
            partial(fit_semantic_id_rqvae, verbose=True, **tuned),
            needs="semantic_id",
        ),
        Method(
            "semantic-id-rqkmeans",
            "semantic-id RQKMeans, defaults",
            fit_semantic_id_rqkmeans,
            needs="semantic_id",
        ),
    ]


def _vector_quantize(name: str, estimator: str, *, rotation_trick: bool) -> Method:
    return Method(
        f"vq-{name}",
        f"vector-quantize-pytorch ResidualVQ, {estimator}: {_PAPERS}, scaled rows, "
        "k-means on the first batch",
        partial(fit_vector_quantize, rotation_trick=rotation_trick),
        needs="vector_quantize_pytorch",
    )
