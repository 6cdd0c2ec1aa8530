"""Tables of what an experiment gave, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from _table import NOTHING, markdown_table, mean_and_spread
from generative_recommender.batches import query_batches
from generative_recommender.bootstrap import N_DRAWS, paired_differences
from generative_recommender.data_sets import DataSet
from generative_recommender.experiment import NO_IDS, TUNING_SEED, Experiment, Run
from generative_recommender.identifiers import METHODS, TEXT_ONLY
from generative_recommender.judges import K
from generative_recommender.records import Record
from measured import mark_of_this_run
from sk_rqvae.metrics import popularity_groups, score_generated_ids

JUDGE_TITLES = {
    "transformer": "generating IDs",
    "sasrec": "SASRec on sums of code vectors",
}
NO_IDS_TITLE = "no IDs: SASRec, a vector an item"
HEADER = (
    "IDs",
    "recall@10",
    "NDCG@10",
    "head",
    "torso",
    "tail",
    "cold items",
    "unique",
)
BY_ID_HEADER = ("IDs", "recall@10 by item", "by ID", "unique")
SETTINGS_TITLE = "Settings that were chosen"
BEST_TEXT = "best of text only"
QUICK_DRAWS = 250
SUMMARY = (
    "kmeans",
    "ours",
    "ours-affinity",
    "ours-affinity-greedy",
    "ours-affinity-weighted",
    "kmeans-both",
    "kmeans-both-weighted",
    "ours-both",
    "ours-both-greedy",
)
# What a table of differences compares.
PAIRS = (
    ("ours-both", BEST_TEXT),
    ("ours-affinity", BEST_TEXT),
    ("ours-affinity-greedy", BEST_TEXT),
    ("ours-affinity-weighted", BEST_TEXT),
    ("ours-both", "kmeans-both"),
    ("ours-affinity", "kmeans-both"),
    ("ours-affinity-greedy", "kmeans-both"),
    ("ours-affinity-weighted", "kmeans-both"),
    ("ours-affinity-weighted", "kmeans-both-weighted"),
    ("ours-affinity", "ours"),
    ("ours-affinity-greedy", "ours-affinity"),
    ("ours-affinity-weighted", "ours-affinity"),
    ("ours-both-greedy", "ours-both"),
    ("ours-greedy", "ours"),
    ("ours", "kmeans"),
    ("ours", "kmeans-separated"),
    ("ours", "random"),
    ("kmeans-both", "kmeans"),
    ("kmeans-both-weighted", "kmeans-both"),
    ("kmeans-behaviour", "kmeans"),
    ("ours-both", NO_IDS),
)


@dataclass(frozen=True)
class Scores:
    """Scores of a kind of IDs, as rows for seeds.

    Attributes
    ----------
    seeds : list of int
    test, cold : ndarray of shape (n_seeds, n_users)
        NDCG@10.
    records : list of Record
    """

    seeds: list[int]
    test: NDArray[np.floating]
    cold: NDArray[np.floating]
    records: list[Record]

    def of(self, seeds: Sequence[int]) -> Scores:
        rows = [self.seeds.index(seed) for seed in seeds]
        records = [self.records[row] for row in rows]
        return Scores(list(seeds), self.test[rows], self.cold[rows], records)


def tables(experiment: Experiment, data: DataSet) -> str:
    """All tables of a data set."""
    parts = [f"### {data.source.title}", mark_of_this_run(), description(data)]
    for judge in experiment.judges:
        found = collected(experiment, data.name, judge)
        if not found:
            continue
        parts += [
            f"**{data.source.title}, {JUDGE_TITLES[judge]}** ({_n_seeds(found)})",
            results_table(experiment, data, found),
        ]
        rows = differences(data, found, QUICK_DRAWS if experiment.quick else N_DRAWS)
        if rows:
            parts.append(rows)
    return "\n\n".join(parts)


def summary(experiment: Experiment, data_sets: Sequence[DataSet]) -> str:
    """One small table of the first judge: NDCG@10, and recall@10 of cold items."""
    header, rows = ["IDs"], {ids: [METHODS[ids].title] for ids in SUMMARY}
    for data in data_sets:
        found = collected(experiment, data.name, experiment.judges[0])
        header += [f"{data.source.title}: NDCG@10", "cold items"]
        for ids, row in rows.items():
            row += _summary_cells(found[ids]) if ids in found else [NOTHING, NOTHING]
    return f"{mark_of_this_run()}\n\n{markdown_table(header, rows.values())}"


def _summary_cells(scores: Scores) -> list[str]:
    ndcg = scores.test.mean(axis=1).tolist()
    return [mean_and_spread(ndcg, digits=4), f"{(scores.cold > 0).mean():.3f}"]


def by_id(experiment: Experiment, data_sets: Sequence[DataSet]) -> str:
    """What counting IDs before the suffix would have claimed, beside what was found."""
    parts = [mark_of_this_run()]
    for data in data_sets:
        for judge in experiment.judges:
            found = collected(experiment, data.name, judge)
            rows = [
                [
                    METHODS[ids].title,
                    *_recalls(found[ids]),
                    _unique(experiment, data, ids),
                ]
                for ids in METHODS
                if ids in found
            ]
            if rows:
                title = f"**{data.source.title}, {JUDGE_TITLES[judge]}**"
                parts += [title, markdown_table(BY_ID_HEADER, rows)]
    return "\n\n".join(parts)


def _recalls(scores: Scores) -> list[str]:
    by_item = (scores.test > 0).mean(axis=1).tolist()
    by_id = [record.facts["test_id_recall"] for record in scores.records]
    return [mean_and_spread(recalls, digits=4) for recalls in (by_item, by_id)]


def _n_seeds(found: dict[str, Scores]) -> str:
    counts = {len(scores.seeds) for scores in found.values()}
    fewest, most = min(counts), max(counts)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def description(data: DataSet) -> str:
    split = data.split
    return (
        f"{data.n_items} items, {split.is_cold.sum()} of them cold; "
        f"{len(split.train)} users with {sum(map(len, split.train))} interactions in "
        f"training, {split.counts.sum() / (~split.is_cold).sum():.0f} a warm item; "
        f"{len(split.cold.targets)} users with a cold item; IDs of 3 x "
        f"{data.source.codebook_size} codes and a suffix."
    )


def collected(experiment: Experiment, data: str, judge: str) -> dict[str, Scores]:
    """Group reported runs by kind of IDs."""
    by_ids: dict[str, dict[int, Record]] = {}
    for run, record in experiment.results.items():
        if (run.data, run.judge) == (data, judge) and run.seed != TUNING_SEED:
            by_ids.setdefault(run.ids, {})[run.seed] = record
    return {
        ids: _scores(by_ids[ids]) for ids in experiment.rows(judge) if ids in by_ids
    }


def _scores(by_seed: dict[int, Record]) -> Scores:
    seeds = sorted(by_seed)
    records = [by_seed[seed] for seed in seeds]
    test = np.stack([record.arrays["test_ndcg"] for record in records])
    cold = np.stack([record.arrays["cold_ndcg"] for record in records])
    return Scores(seeds, test, cold, records)


def results_table(
    experiment: Experiment, data: DataSet, found: dict[str, Scores]
) -> str:
    """A row for each kind of IDs: means over seeds, with standard deviations."""
    groups = popularity_groups(data.split.counts)[data.split.test.targets]
    popular = most_popular(data)[None]
    chance = min(K / data.split.is_cold.sum(), 1.0)
    rows = [
        ["no IDs: popularity", *_cells(popular, groups), f"{chance:.3f}", NOTHING],
    ]
    for ids in (NO_IDS, *METHODS):
        if ids not in found:
            continue
        scores = found[ids]
        title = NO_IDS_TITLE if ids == NO_IDS else METHODS[ids].title
        cold = f"{(scores.cold > 0).mean():.3f}"
        unique = _unique(experiment, data, ids)
        rows.append([title, *_cells(scores.test, groups), cold, unique])
    return markdown_table(HEADER, rows)


def _unique(experiment: Experiment, data: DataSet, ids: str) -> str:
    shares = [
        len(np.unique(codes, axis=0)) / data.n_items
        for (name, kind, _), codes in experiment.codes.items()
        if (name, kind) == (data.name, ids)
    ]
    return f"{fmean(shares):.3f}" if shares else NOTHING


def _cells(ndcg: NDArray[np.floating], groups: NDArray[np.str_]) -> list[str]:
    hits = ndcg > 0
    return [
        mean_and_spread(hits.mean(axis=1).tolist(), digits=4),
        mean_and_spread(ndcg.mean(axis=1).tolist(), digits=4),
        *(_mean(hits[:, groups == group]) for group in ("head", "torso", "tail")),
    ]


def _mean(hits: NDArray[np.bool_]) -> str:
    return f"{hits.mean():.3f}" if hits.size else NOTHING


def most_popular(data: DataSet) -> NDArray[np.floating]:
    """NDCG@10 of each user if all are recommended the most frequent unseen items."""
    split = data.split
    counts = torch.from_numpy(split.counts).double()
    warm = torch.from_numpy(~split.is_cold)
    lists = [
        counts.masked_fill(~row, -1).topk(K).indices
        for batch in query_batches(split.test, warm, 1, 256)
        for row in batch.candidates
    ]
    identity = np.arange(data.n_items)[:, None]
    generated = torch.stack(lists).numpy()[..., None]
    return score_generated_ids(generated, identity, split.test.targets, k=K).ndcg


def differences(data: DataSet, found: dict[str, Scores], n_draws: int) -> str:
    """Relative differences with p-values, for NDCG@10 and tail and cold recall@10.

    Only seeds that all kinds of IDs have are compared.
    """
    groups = popularity_groups(data.split.counts)[data.split.test.targets]
    tail = groups == "tail"
    best = best_text(found)
    named = [(ours, best if theirs == BEST_TEXT else theirs) for ours, theirs in PAIRS]
    named = [pair for pair in named if set(pair) <= set(found) and len(set(pair)) == 2]
    named = list(dict.fromkeys(named))
    seeds = sorted(set.intersection(*(set(each.seeds) for each in found.values())))
    if not named or not seeds:
        return ""
    pairs = [(found[one].of(seeds), found[two].of(seeds)) for one, two in named]
    columns = [
        [(one.test, two.test) for one, two in pairs],
        [(one.test[:, tail] > 0, two.test[:, tail] > 0) for one, two in pairs],
        [(one.cold > 0, two.cold > 0) for one, two in pairs],
    ]
    cells = [_differences(column, n_draws) for column in columns]
    titles = [f"{_title(one)} over {_title(two)}" for one, two in named]
    header = ("difference", "NDCG@10", "tail recall@10", "cold recall@10")
    return markdown_table(header, list(zip(titles, *cells, strict=True)))


def best_text(found: dict[str, Scores]) -> str | None:
    """The text-only IDs with the best mean NDCG@10 of validation items."""
    valid = {
        ids: fmean(record.facts["valid_ndcg"] for record in found[ids].records)
        for ids in TEXT_ONLY
        if ids in found
    }
    return max(valid, key=valid.__getitem__, default=None)


def _title(ids: str) -> str:
    return NO_IDS_TITLE if ids == NO_IDS else METHODS[ids].title


def _differences(
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], n_draws: int
) -> list[str]:
    if not pairs[0][0].size:
        return [NOTHING] * len(pairs)
    found = paired_differences(pairs, n_draws=n_draws)
    return [f"{_percent(each.relative)} (p {each.p_value:.4f})" for each in found]


def _percent(relative: float) -> str:
    return f"{relative:+.1%}" if math.isfinite(relative) else "from 0"


def tuning_table(experiment: Experiment, data: DataSet) -> str:
    """The settings that were chosen, and validation NDCG@10; folded on a page."""
    tried = [
        (run, record.facts["valid_ndcg"])
        for run, record in experiment.results.items()
        if run.data == data.name and run.seed == TUNING_SEED
    ]
    best: dict[tuple[str, str], tuple[Run, float]] = {}
    for run, valid in tried:
        kind = (run.judge, run.ids)
        if kind not in best or valid > best[kind][1]:
            best[kind] = run, valid
    rows = [
        [
            _title(ids) if ids == NO_IDS else f"{judge}, {_title(ids)}",
            f"{run.settings.lr:g}",
            f"{run.settings.dropout:g}",
            run.settings.loss,
            f"{valid:.4f}",
        ]
        for (judge, ids), (run, valid) in best.items()
    ]
    header = ("chosen for", "learning rate", "dropout", "loss", "validation NDCG@10")
    return _folded(SETTINGS_TITLE, markdown_table(header, rows)) if rows else ""


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"
