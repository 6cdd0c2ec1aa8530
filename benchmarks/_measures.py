"""What is measured of a method on one split of the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from _contract import Codes, Matrix, Method, Quantizer, Task
from sk_rqvae.metrics import (
    codebook_perplexity,
    codebook_usage,
    collision_rate,
    decoded_neighbor_recall,
    explained_variance,
    reconstruction_error,
)


@dataclass(frozen=True)
class Measures:
    """Figures of one fit; of the fitted rows where nothing else is said.

    Attributes
    ----------
    variance, unseen_variance : float
        Explained variance of fitted and of unseen rows.
    error, unseen_error : float
        Mean squared error, likewise.
    prefix_variances : tuple of float
        Explained variance from the first 1, 2, ... codes; empty where the method does
        not decode prefixes.
    unseen_first_variance : float
        Explained variance of unseen rows from the first code, NaN likewise.
    usage : float
        Share of codes used, of the level that uses the fewest.
    perplexity : tuple of float
        Of each level.
    unique : float
        Distinct IDs a row.
    recall : float
        Recall@10 of neighbours by the distance of reconstructions.
    seconds : float
        Time to fit.
    """

    variance: float
    unseen_variance: float
    error: float
    unseen_error: float
    prefix_variances: tuple[float, ...]
    unseen_first_variance: float
    usage: float
    perplexity: tuple[float, ...]
    unique: float
    recall: float
    seconds: float


def measure(method: Method, fitted: Matrix, unseen: Matrix, task: Task) -> Measures:
    start = perf_counter()
    quantizer = method.fit(fitted, task)
    seconds = perf_counter() - start
    codes = quantizer.encode(fitted)
    restored = quantizer.decode(codes)
    unseen_codes = quantizer.encode(unseen)
    restored_unseen = quantizer.decode(unseen_codes)
    return Measures(
        variance=explained_variance(fitted, restored),
        unseen_variance=explained_variance(unseen, restored_unseen),
        error=reconstruction_error(fitted, restored),
        unseen_error=reconstruction_error(unseen, restored_unseen),
        prefix_variances=prefix_variances(quantizer, fitted, codes),
        unseen_first_variance=_first_variance(quantizer, unseen, unseen_codes),
        usage=float(codebook_usage(codes, task.n_codes).min()),
        perplexity=tuple(codebook_perplexity(codes, task.n_codes).tolist()),
        unique=1 - collision_rate(codes),
        recall=decoded_neighbor_recall(fitted, restored, random_state=task.seed),
        seconds=seconds,
    )


def _first_variance(quantizer: Quantizer, X: Matrix, codes: Codes) -> float:
    if not quantizer.decodes_prefixes:
        return math.nan
    return explained_variance(X, quantizer.decode(codes[:, :1]))


def error_ratios(of: Measures, references: Iterable[Measures]) -> tuple[float, float]:
    """Error over the smallest of `references`, for fitted and for unseen rows."""
    references = list(references)
    return (
        ratio(of.error, min(each.error for each in references)),
        ratio(of.unseen_error, min(each.unseen_error for each in references)),
    )


def ratio(error: float, reference: float) -> float:
    if reference == 0:
        return 1.0 if error == 0 else float("inf")
    return error / reference


def prefix_variances(
    quantizer: Quantizer, X: Matrix, codes: Codes
) -> tuple[float, ...]:
    """Explained variance from the first 1, 2, ... codes, if it decodes prefixes."""
    if not quantizer.decodes_prefixes:
        return ()
    depths = range(1, codes.shape[1] + 1)
    return tuple(
        explained_variance(X, quantizer.decode(codes[:, :depth])) for depth in depths
    )
