"""Tables of what an experiment gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _table import NOTHING, markdown_table, mean_and_spread
from generative_recommender.experiment import Trial
from generative_recommender.ranking import gains, hits
from generative_recommender.records import Result

HEADER = (
    "IDs",
    "recall@10",
    "NDCG@10",
    "validation NDCG@10",
    "unique",
    "epoch",
    "CPU s of IDs",
    "and of training",
)


@dataclass(frozen=True)
class Scores:
    """What each user's list was worth, of shape (n_seeds, n_users)."""

    hits: NDArray[np.float64]
    gains: NDArray[np.float64]


def scores(
    ranked: Sequence[Sequence[Sequence[int]]], targets: NDArray[np.int64]
) -> Scores:
    """Score the lists of several seeds."""
    lists = [np.array(each) for each in ranked]
    return Scores(
        np.stack([hits(each, targets) for each in lists]),
        np.stack([gains(each, targets) for each in lists]),
    )


def results_table(
    results: dict[str, list[Result]], popular: Scores, found: dict[str, Scores]
) -> str:
    """A row for each kind of IDs, means and standard deviations over seeds."""
    rows = [["popularity", *_means(popular), *[NOTHING] * 5]]
    for ids, runs in results.items():
        rows.append(
            [
                ids,
                *_means(found[ids]),
                mean_and_spread([run["valid_ndcg"] for run in runs]),
                f"{np.mean([run['unique'] for run in runs]):.3f}",
                " / ".join(str(run["epoch"]) for run in runs),
                f"{np.mean([run['seconds_of_ids'] for run in runs]):.0f}",
                f"{np.mean([run['seconds'] for run in runs]):.0f}",
            ]
        )
    return markdown_table(HEADER, rows)


def differences_table(found: dict[str, Scores], ours: str) -> str:
    """How far `ours` is ahead of the others, with the standard error over users.

    A user's scores are averaged over seeds before they are compared.
    """
    rows = [
        [
            f"{ours} - {other}",
            _difference(found[ours].hits, theirs.hits),
            _difference(found[ours].gains, theirs.gains),
        ]
        for other, theirs in found.items()
        if other != ours
    ]
    return markdown_table(("difference", "recall@10", "NDCG@10"), rows)


def tuning_table(tried: Mapping[str, Sequence[Trial]]) -> str:
    """The validation figures that settings were chosen by."""
    rows = [
        [
            ids,
            f"{settings.lr:g}",
            f"{settings.dropout:g}",
            f"{result['valid_ndcg']:.4f}",
            str(result["epoch"]),
        ]
        for ids, trials in tried.items()
        for settings, result in trials
    ]
    header = ("IDs", "learning rate", "dropout", "validation NDCG@10", "epoch")
    return markdown_table(header, rows)


def _means(found: Scores) -> list[str]:
    return [
        mean_and_spread(each.mean(axis=1).tolist(), digits=4)
        for each in (found.hits, found.gains)
    ]


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    ahead = ours.mean(axis=0) - theirs.mean(axis=0)
    error = ahead.std(ddof=1) / np.sqrt(len(ahead))
    return f"{ahead.mean():+.4f} ± {error:.4f}"
