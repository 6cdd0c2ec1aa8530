"""Ways to give items IDs, all of the same size: as many levels and codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from _contract import Codes, Matrix, Quantizer, Task
from _faiss import fit_faiss, fit_rotated_product
from _lc_rec import fit_lc_rec
from _residual_kmeans import fit_residual_kmeans
from generative_recommender.separation import separated
from generative_recommender.views import Views
from sk_rqvae import RQVAETransformer

N_LAYERS = 3
LC_REC_STEPS = 600
LC_REC_BATCH = 1024


class Unavailable(Exception):
    """A method cannot run here; the message says why."""


@dataclass(frozen=True)
class IDMethod:
    """A way to make IDs.

    Attributes
    ----------
    title : str
    make : callable
        Takes `Views`, a `Task`, and the codes of the method `after`, if there is one.
        The library's quantizer also takes the keyword `device`.
    is_ours : bool
        Whether the library's quantizer decides the codes.
    uses_behaviour : bool
        Whether training histories decide the codes.
    after : str or None
        Another method whose codes this one needs.
    """

    title: str
    make: Callable[..., Codes]
    is_ours: bool = False
    uses_behaviour: bool = False
    after: str | None = None


def _ours(view: str, views: Views, task: Task, *, device: str, **options: Any) -> Codes:
    X: Matrix = getattr(views, view)
    return _transformer(task, device, **options).fit(X).transform(X)


def _ours_with_affinity(
    views: Views, task: Task, *, device: str, weighted: bool = False, **options: Any
) -> Codes:
    fitted = _transformer(task, device, **options)
    weights = views.weights if weighted else None
    fitted.fit(views.text, affinity=views.affinity, sample_weight=weights)
    return fitted.transform(views.text)


def _transformer(task: Task, device: str, **options: Any) -> RQVAETransformer:
    return RQVAETransformer(
        n_layers=task.n_layers,
        codebook_size=task.n_codes,
        random_state=task.seed,
        device=device,
        **({"max_epochs": task.epochs(2)} if task.quick else {}),
        **options,
    )


def _residual_kmeans(
    view: str, views: Views, task: Task, *, weighted: bool = False
) -> Codes:
    X = getattr(views, view)
    weights = views.weights if weighted else None
    return fit_residual_kmeans(X, task, weights).encode(X)


def _separated_kmeans(views: Views, task: Task, other: Codes) -> Codes:
    """Residual k-means with as many distinct IDs as `other` has."""
    quantizer = fit_residual_kmeans(views.text, task)
    share = len(np.unique(other, axis=0)) / len(other)
    return separated(quantizer, views.text, task.n_codes, share)


def _with_faiss(fit: Callable[..., Quantizer], views: Views, task: Task) -> Codes:
    try:
        return fit(views.text, task).encode(views.text)
    except ModuleNotFoundError as error:
        if error.name != "faiss":
            raise
        raise Unavailable("faiss is missing: pip install faiss-cpu") from error


def _lc_rec(views: Views, task: Task) -> Codes:
    steps_an_epoch = -(-len(views.text) // LC_REC_BATCH)
    epochs = -(-LC_REC_STEPS // steps_an_epoch)
    return fit_lc_rec(views.text, task, epochs=epochs).encode(views.text)


def _random(views: Views, task: Task) -> Codes:
    rng = np.random.default_rng(task.seed)
    return rng.integers(task.n_codes, size=(len(views.text), task.n_layers))


_faiss_rq = partial(_with_faiss, partial(fit_faiss, n_beams=5))
# Each code is the nearest one, whatever the later codes are.
_GREEDY = {"n_beams": 1}

METHODS = {
    "random": IDMethod("random", _random),
    "kmeans": IDMethod("residual k-means, text", partial(_residual_kmeans, "text")),
    "kmeans-separated": IDMethod(
        "residual k-means, text, separated", _separated_kmeans, after="ours"
    ),
    "faiss": IDMethod("faiss RQ, text", _faiss_rq),
    "opq": IDMethod("faiss OPQ, text", partial(_with_faiss, fit_rotated_product)),
    "lc-rec": IDMethod("RQ-VAE as in LC-Rec, text", _lc_rec),
    "ours": IDMethod("ours, text", partial(_ours, "text"), is_ours=True),
    "ours-greedy": IDMethod(
        "ours, text, greedy", partial(_ours, "text", **_GREEDY), is_ours=True
    ),
    "kmeans-behaviour": IDMethod(
        "residual k-means, behaviour",
        partial(_residual_kmeans, "behaviour_or_mean"),
        uses_behaviour=True,
    ),
    "kmeans-both": IDMethod(
        "residual k-means, text + behaviour",
        partial(_residual_kmeans, "both"),
        uses_behaviour=True,
    ),
    "kmeans-both-weighted": IDMethod(
        "residual k-means, text + behaviour, weighted",
        partial(_residual_kmeans, "both", weighted=True),
        uses_behaviour=True,
    ),
    "ours-both": IDMethod(
        "ours, text + behaviour",
        partial(_ours, "both"),
        is_ours=True,
        uses_behaviour=True,
    ),
    "ours-both-greedy": IDMethod(
        "ours, text + behaviour, greedy",
        partial(_ours, "both", **_GREEDY),
        is_ours=True,
        uses_behaviour=True,
    ),
    "ours-affinity": IDMethod(
        "ours, text, fitted with affinity",
        _ours_with_affinity,
        is_ours=True,
        uses_behaviour=True,
    ),
    "ours-affinity-greedy": IDMethod(
        "ours, text, fitted with affinity, greedy",
        partial(_ours_with_affinity, **_GREEDY),
        is_ours=True,
        uses_behaviour=True,
    ),
    "ours-affinity-weighted": IDMethod(
        "ours, text, fitted with affinity, weighted",
        partial(_ours_with_affinity, weighted=True),
        is_ours=True,
        uses_behaviour=True,
    ),
}
TEXT_ONLY = (
    "kmeans",
    "kmeans-separated",
    "faiss",
    "opq",
    "lc-rec",
    "ours",
    "ours-greedy",
)
