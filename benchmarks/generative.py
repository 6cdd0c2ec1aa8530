"""Which IDs recommend better? Kinds of IDs, data sets and recommenders, compared.

Prepare the data where there is a network, then run where there is not::

    pip install -c constraints.txt -e . pandas transformers faiss-cpu
    python benchmarks/generative.py --prepare
    OMP_NUM_THREADS=1 python benchmarks/generative.py
    python benchmarks/generative.py --table

Data and records are in ``benchmarks/.cache``. Each run is recorded as it ends, so a
second call continues where the first stopped. ``--reduced`` does much less, untuned.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from generative_recommender.data_sets import BY_DEFAULT, SOURCES, load, prepare
from generative_recommender.embeddings import EMBEDDERS
from generative_recommender.experiment import LOSSES, Experiment
from generative_recommender.identifiers import METHODS
from generative_recommender.records import Records
from generative_recommender.tables import by_id, summary, tables, tuning_table
from generative_recommender.training import Plan
from generative_recommender.workers import NoWorkers, Workers

CACHE = Path(__file__).resolve().parent / ".cache"
SEEDS = (0, 1, 2, 3, 4)
REDUCED_DATA = ("ml-100k",)
REDUCED_IDS = ("random", "kmeans", "ours", "kmeans-both", "ours-both")
REDUCED_SEEDS = (0, 1, 2)
QUICK_SEEDS = (0, 1)
QUICK = Plan(max_steps=8, steps_a_look=4, patience=1, n_beams=5)
# The packed codes of these need packages that the machine of the runs may lack.
PACKED_IDS = ("faiss", "opq")
STACKS = {"cpu": 1, "cuda": 20}
CAPTION = """\
Means over seeds ± standard deviations; a seed makes the IDs and trains the recommender.
Head, torso and tail are recall@10 of targets by popularity of the item. Cold items are
in no training history: recall@10 among them, where chance is in the row of popularity.
Unique is the share of distinct IDs before the suffix. P-values are two-sided, by a
bootstrap over users and seeds."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    experiment = _experiment(options)
    if options.prepare or options.quick:
        for name in experiment.data:
            prepare(name, options.cache, options.embedder)
    if options.prepare:
        packed = [ids for ids in experiment.ids if ids in PACKED_IDS]
        experiment = _experiment(options, ids=packed, judges=[])
    elif options.ids_only:
        experiment = _experiment(options, judges=[])
    if options.table or options.summary or options.by_id:
        workers: Workers | NoWorkers = NoWorkers()
    else:
        n_processes = {"ids": options.id_jobs, "runs": options.jobs}
        seconds = None if options.minutes is None else 60 * options.minutes
        workers = Workers(n_processes, seconds)
    experiment.execute(workers)
    if workers.n_skipped:
        print(f"{workers.n_skipped} calls have not been run.", file=sys.stderr)
    if options.summary or options.by_id:
        data_sets = [load(name, options.cache) for name in experiment.data]
        print((by_id if options.by_id else summary)(experiment, data_sets))
    elif experiment.judges and not options.no_tables:
        print(report(experiment, as_recorded=options.as_recorded))
    return 0


def report(experiment: Experiment, *, as_recorded: bool) -> str:
    """All tables, and what they were made with."""
    machines = {record.facts["machine"] for record in experiment.results.values()}
    versions = {
        f"sk-rqvae {record.facts['sk_rqvae']}, torch {record.facts['torch']}"
        for record in experiment.results.values()
    }
    made_with = "; ".join([*sorted(versions), *sorted(machines)])
    if experiment.quick:
        made_with += ". A quick run: the figures mean nothing."
    if as_recorded:
        made_with += ". Newest records, which may be of older code."
    parts = [made_with]
    for name in experiment.data:
        data = load(name, experiment.cache)
        parts += [tables(experiment, data), tuning_table(experiment, data)]
    return "\n\n".join(filter(None, [*parts, CAPTION]))


def _experiment(
    options: argparse.Namespace,
    *,
    ids: list[str] | None = None,
    judges: list[str] | None = None,
) -> Experiment:
    quick, reduced = options.quick, options.reduced
    return Experiment(
        cache=options.cache,
        records=Records(
            options.records or options.cache / "records", any_key=options.as_recorded
        ),
        data=options.data
        or (["made"] if quick else REDUCED_DATA if reduced else BY_DEFAULT),
        ids=(options.ids or (REDUCED_IDS if reduced else list(METHODS)))
        if ids is None
        else ids,
        judges=options.judges if judges is None else judges,
        seeds=options.seeds
        or (QUICK_SEEDS if quick else REDUCED_SEEDS if reduced else SEEDS),
        plan=QUICK if quick else Plan(),
        tunes=not (quick or reduced),
        quick=quick,
        stack=options.stack or STACKS[torch.device(options.device).type],
        device=options.device,
        id_device=options.id_device,
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", choices=SOURCES, help=f"default: {', '.join(BY_DEFAULT)}")
    add("--ids", nargs="+", choices=METHODS, help="default: all")
    add("--judges", nargs="+", choices=LOSSES, default=["transformer"])
    add("--seeds", nargs="+", type=int, help=f"default: {SEEDS}")
    add("--embedder", choices=EMBEDDERS, default="minilm", help="for --prepare")
    add("--cache", type=Path, default=CACHE, help="folder; default: %(default)s")
    add("--records", type=Path, help="folder; default: records in the cache")
    add("--device", default="cpu", help="for recommenders; default: %(default)s")
    add("--id-device", default="cpu", help="for our IDs; default: %(default)s")
    add("--jobs", type=int, default=1, help="processes that train; 0: in this one")
    add("--id-jobs", type=int, default=1, help="processes that make IDs; 0: this one")
    add("--stack", type=int, help=f"runs trained together; default: {STACKS}")
    add("--minutes", type=float, help="start nothing new after that time")
    add("--prepare", action="store_true", help="get data and pack IDs of faiss")
    add("--ids-only", action="store_true", help="make IDs and train no recommender")
    add("--table", action="store_true", help="run nothing: print what is recorded")
    add("--summary", action="store_true", help="like --table: one small table")
    add("--by-id", action="store_true", help="like --table: recall@10 by item and ID")
    add("--no-tables", action="store_true", help="print no tables at the end")
    add(
        "--as-recorded",
        action="store_true",
        help="with --table, take the newest records even if they are of older code",
    )
    add("--reduced", action="store_true", help="one set, few IDs, untuned, 3 seeds")
    add("--quick", action="store_true", help="a few seconds; the figures mean nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
