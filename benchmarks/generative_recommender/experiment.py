"""What is run: IDs, then tuning on validation items, then reported runs."""

from __future__ import annotations

import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import sk_rqvae
from _contract import Codes, Task
from generative_recommender import judges
from generative_recommender.code_tree import full_ids
from generative_recommender.data_sets import DataSet, load
from generative_recommender.fingerprints import (
    codes_fingerprint,
    digest,
    judges_fingerprint,
)
from generative_recommender.identifiers import METHODS, N_LAYERS, Unavailable
from generative_recommender.judges import Outcome
from generative_recommender.records import Record, Records
from generative_recommender.training import Plan, Settings
from generative_recommender.views import Views
from generative_recommender.workers import NoWorkers, Workers

NO_IDS = "none"
LOSSES = {"transformer": ("generation",), "sasrec": ("softmax",)}
# SASRec without IDs is also tried with its own loss.
LOSSES_WITHOUT_IDS = ("softmax", "binary")
# Learning rate and dropout for each loss. The first is what untuned runs have.
POINTS = {
    "generation": ((1e-2, 0.0), (5e-3, 0.0)),
    "softmax": ((3e-3, 0.0), (1e-3, 0.0)),
    "binary": ((3e-3, 0.0), (1e-3, 0.0)),
}
TUNING_SEED = 1000
N_LOOKS = 4


class Run(NamedTuple):
    """One recommender: `ids` made with `ids_seed`, trained with `seed`."""

    data: str
    ids: str
    judge: str
    settings: Settings
    ids_seed: int
    seed: int

    @property
    def name(self) -> str:
        kind = "tuning" if self.seed == TUNING_SEED else "test"
        point = f"{self.settings.lr:g}-{self.settings.dropout:g}-{self.settings.loss}"
        parts = [self.data, self.judge, self.ids, kind]
        return "runs/" + "_".join([*parts, str(self.seed), point])


@dataclass(frozen=True)
class Experiment:
    """Data sets, kinds of IDs, judges and seeds, and where records are.

    Attributes
    ----------
    cache : Path
        Where prepared data sets are.
    records : Records
    data, ids, judges : sequence of str
    seeds : sequence of int
    plan : Plan
        Its steps are replaced by those of the data set, unless it is a quick run.
    tunes : bool
        Whether to try all `POINTS`, or to use the first.
    quick : bool
        Whether to cut short the training of quantizers too.
    stack : int
        Runs trained together.
    device, id_device : str
        For recommenders, and for the library's quantizer.
    """

    cache: Path
    records: Records
    data: Sequence[str]
    ids: Sequence[str]
    judges: Sequence[str]
    seeds: Sequence[int]
    plan: Plan
    tunes: bool
    quick: bool
    stack: int
    device: str
    id_device: str
    skipped: set[str] = field(default_factory=set)
    codes: dict[tuple[str, str, int], Codes] = field(default_factory=dict)
    results: dict[Run, Record] = field(default_factory=dict)

    def execute(self, workers: Workers | NoWorkers) -> None:
        """Do all that has no record yet, and collect `codes` and `results`."""
        for name in self.data:
            progress = _Progress(self, load(name, self.cache), workers)
            progress.make_codes(self.seeds[0])
        workers.run()

    def codes_key(self, data: DataSet, ids: str, seed: int, other: Codes | None) -> str:
        method = METHODS[ids]
        return digest(
            data.digest,
            ids,
            asdict(self.task(data, seed)),
            codes_fingerprint(method.is_ours, method.uses_behaviour),
            None if other is None else digest(other),
        )

    def task(self, data: DataSet, seed: int) -> Task:
        return Task(N_LAYERS, data.source.codebook_size, seed, self.quick)

    def run_key(self, data: DataSet, run: Run, ids_digest: str) -> str:
        return digest(
            data.digest,
            ids_digest,
            asdict(run.settings),
            asdict(self.plan_of(data, run.seed)),
            [data.source.window, data.source.batch_size],
            run.seed,
            judges_fingerprint(),
        )

    def plan_of(self, data: DataSet, seed: int) -> Plan:
        plan = self.plan
        if not self.quick:
            steps = data.source.n_steps
            plan = replace(plan, max_steps=steps, steps_a_look=steps // N_LOOKS)
        return plan.shortened() if seed == TUNING_SEED else plan

    def stack_of(self, loss: str) -> int:
        """Runs in a stack. A score for every item takes more memory than codes."""
        return self.stack if loss == "generation" else max(1, self.stack // 2)

    def points(self, ids: str, judge: str) -> list[Settings]:
        """Settings to choose from."""
        losses = LOSSES_WITHOUT_IDS if ids == NO_IDS else LOSSES[judge]
        points = [
            Settings(lr, dropout, loss)
            for loss in losses
            for lr, dropout in POINTS[loss]
        ]
        return points if self.tunes else points[:1]

    def rows(self, judge: str) -> list[str]:
        """The kinds of IDs that a judge sees. Runs without IDs are done once."""
        return [*self.ids, *([NO_IDS] if judge == self.judges[0] else [])]


def codes_name(data: str, ids: str, seed: int) -> str:
    return f"codes/{data}_{ids}_{seed}"


class _Progress:
    """What has been done for one data set, and what can be done next."""

    def __init__(
        self, experiment: Experiment, data: DataSet, workers: Workers | NoWorkers
    ) -> None:
        self.experiment, self.data, self.workers = experiment, data, workers
        self.codes: dict[tuple[str, int], Codes] = {}
        self.digests: dict[tuple[str, int], str] = {}
        self.missing = set(product(experiment.ids, experiment.seeds))
        self.tuning: dict[str, set[Run]] = {}
        self.reported: set[str] = set()
        self.makes_other_seeds = False
        identity = np.arange(data.n_items)[:, None]
        for seed in experiment.seeds:
            self.codes[NO_IDS, seed] = identity
            self.digests[NO_IDS, seed] = digest(identity)
        for ids in experiment.ids:
            if METHODS[ids].after not in (None, *experiment.ids):
                self._skip(ids, f"add {METHODS[ids].after} to --ids")

    def make_codes(self, seed: int) -> None:
        """Start all that needs no other IDs."""
        for ids in self.experiment.ids:
            if METHODS[ids].after is None:
                self._make(ids, seed, None)
        self._next()

    def _make(self, ids: str, seed: int, other: Codes | None) -> None:
        experiment = self.experiment
        name = codes_name(self.data.name, ids, seed)
        key = experiment.codes_key(self.data, ids, seed, other)
        done = experiment.records.get(name, key)
        if done is not None:
            self._have(ids, seed, done.arrays["codes"].astype(np.int64))
            return

        def keep(made: tuple[Codes, float] | str) -> None:
            if isinstance(made, str):
                self._skip(ids, made)
                return
            codes, seconds = made
            device = experiment.id_device if METHODS[ids].is_ours else "cpu"
            facts = _facts(ids=ids, seed=seed, seconds=seconds, device=device)
            small = codes.astype(np.uint16)
            experiment.records.add(name, key, Record({"codes": small}, facts))
            _say(f"{name}: {seconds:.0f} s")
            self._have(ids, seed, codes)

        arguments = (experiment.cache, self.data.name, ids, other)
        task = experiment.task(self.data, seed)
        arguments += task, experiment.id_device
        if not self.workers.submit("ids", keep, make_codes, *arguments):
            depending = [each for each in METHODS if METHODS[each].after == ids]
            self.missing -= {(each, seed) for each in (ids, *depending)}
            self._next()

    def _have(self, ids: str, seed: int, codes: Codes) -> None:
        self.codes[ids, seed] = codes
        self.digests[ids, seed] = digest(full_ids(codes))
        self.experiment.codes[self.data.name, ids, seed] = codes
        self.missing.discard((ids, seed))
        for other in self.experiment.ids:
            if METHODS[other].after == ids:
                self._make(other, seed, codes)
        self._next()

    def _skip(self, ids: str, why: str) -> None:
        if ids not in self.experiment.skipped:
            self.experiment.skipped.add(ids)
            _say(f"{ids} is skipped: {why}")
        self.missing -= {(ids, seed) for seed in self.experiment.seeds}
        self._next()

    def _next(self) -> None:
        """Start the tuning and the reported runs for which there are codes."""
        first, *others = self.experiment.seeds
        if any(seed == first for _, seed in self.missing):
            return
        # Tuning needs the first seed alone, and should not wait for others.
        if not self.makes_other_seeds:
            self.makes_other_seeds = True
            for seed in others:
                self.make_codes(seed)
        for judge in self.experiment.judges:
            if judge not in self.tuning:
                self._tune(judge, first)
            if not (self.tuning[judge] or self.missing or judge in self.reported):
                self.reported.add(judge)
                self._report(judge)

    def _tune(self, judge: str, ids_seed: int) -> None:
        runs = [
            Run(self.data.name, ids, judge, point, ids_seed, TUNING_SEED)
            for ids in self._rows(judge)
            for point in self.experiment.points(ids, judge)
            if self.experiment.tunes
        ]
        self.tuning[judge] = set(runs)
        self._train(runs)

    def _rows(self, judge: str) -> list[str]:
        skipped = self.experiment.skipped
        return [ids for ids in self.experiment.rows(judge) if ids not in skipped]

    def _report(self, judge: str) -> None:
        chosen = {ids: self._best(ids, judge) for ids in self._rows(judge)}
        runs = [
            Run(self.data.name, ids, judge, settings, seed, seed)
            for seed in self.experiment.seeds
            for ids, settings in chosen.items()
        ]
        self._train(runs)

    def _best(self, ids: str, judge: str) -> Settings:
        points = self.experiment.points(ids, judge)
        if not self.experiment.tunes:
            return points[0]
        first = self.experiment.seeds[0]
        tried = {}
        for point in points:
            run = Run(self.data.name, ids, judge, point, first, TUNING_SEED)
            if run in self.experiment.results:
                tried[point] = self.experiment.results[run].facts["valid_ndcg"]
        return max(tried, key=tried.__getitem__, default=points[0])

    def _train(self, runs: Sequence[Run]) -> None:
        experiment = self.experiment
        keys: dict[Run, str] = {}
        alike: dict[tuple[str, bool], list[Run]] = defaultdict(list)
        done: list[tuple[Run, Record]] = []
        for run in runs:
            ids_digest = self.digests.get((run.ids, run.ids_seed))
            if ids_digest is None:
                self.tuning[run.judge].discard(run)
                continue
            keys[run] = experiment.run_key(self.data, run, ids_digest)
            record = experiment.records.get(run.name, keys[run])
            if record is None:
                alike[run.settings.loss, run.ids == NO_IDS].append(run)
            else:
                done.append((run, record))
        for (loss, _), group in alike.items():
            size = experiment.stack_of(loss)
            for start in range(0, len(group), size):
                self._train_stack(group[start : start + size], keys)
        for run, record in done:
            self._finish(run, record)

    def _train_stack(self, stack: Sequence[Run], keys: dict[Run, str]) -> None:
        experiment = self.experiment

        def keep(outcomes: list[Outcome]) -> None:
            records = [
                _record(run, outcome, experiment.device)
                for run, outcome in zip(stack, outcomes, strict=True)
            ]
            for run, record in zip(stack, records, strict=True):
                experiment.records.add(run.name, keys[run], record)
            first, seconds = stack[0], sum(each.seconds for each in outcomes)
            _say(f"{len(stack)} runs from {first.name} on: {seconds:.0f} s")
            for run, record in zip(stack, records, strict=True):
                self._finish(run, record)

        codes = [self.codes[run.ids, run.ids_seed] for run in stack]
        settings = [run.settings for run in stack]
        seeds = [run.seed for run in stack]
        accepted = self.workers.submit(
            "runs",
            keep,
            train_stack,
            *(experiment.cache, self.data.name, codes, settings, seeds),
            *(experiment.plan_of(self.data, stack[0].seed), experiment.device),
        )
        if not accepted:
            self.tuning[stack[0].judge] -= set(stack)
            self._next()

    def _finish(self, run: Run, record: Record) -> None:
        self.experiment.results[run] = record
        self.tuning[run.judge].discard(run)
        self._next()


def make_codes(
    cache_folder: Path,
    name: str,
    ids: str,
    other: Codes | None,
    task: Task,
    device: str,
) -> tuple[Codes, float] | str:
    """Make codes in a worker. A str says why they cannot be made."""
    _, views = _loaded(cache_folder, name)
    start = time.process_time()
    arguments = () if other is None else (other,)
    options = {"device": device} if METHODS[ids].is_ours else {}
    try:
        codes = METHODS[ids].make(views, task, *arguments, **options)
    except Unavailable as reason:
        return str(reason)
    return np.asarray(codes, dtype=np.int64), time.process_time() - start


def train_stack(
    cache_folder: Path,
    name: str,
    codes: list[Codes],
    settings: list[Settings],
    seeds: list[int],
    plan: Plan,
    device: str,
) -> list[Outcome]:
    """Train and score a stack in a worker, in halves if memory is short."""
    data, _ = _loaded(cache_folder, name)
    try:
        return judges.judge(data, codes, settings, seeds, plan, device)
    except torch.cuda.OutOfMemoryError:
        if len(codes) == 1:
            raise
    finally:
        # Other processes use the same GPU.
        torch.cuda.empty_cache()
    halves = slice(None, len(codes) // 2), slice(len(codes) // 2, None)
    outcomes = []
    for half in halves:
        runs = codes[half], settings[half], seeds[half]
        outcomes += train_stack(cache_folder, name, *runs, plan, device)
    return outcomes


@cache
def _loaded(cache_folder: Path, name: str) -> tuple[DataSet, Views]:
    data = load(name, cache_folder)
    return data, Views(data.X, data.split.train)


def _record(run: Run, outcome: Outcome, device: str) -> Record:
    arrays = {
        "test_ndcg": outcome.test_ndcg,
        "cold_ndcg": outcome.cold_ndcg,
    }
    facts = _facts(
        ids=run.ids,
        seed=run.seed,
        device=device,
        seconds=outcome.seconds,
        settings=asdict(run.settings),
        epoch=outcome.epoch,
        valid_ndcg=outcome.valid_ndcg,
        test_id_recall=outcome.test_id_recall,
    )
    return Record(arrays, facts)


def _facts(*, device: str, **facts: Any) -> dict[str, Any]:
    """Add what does not decide results to what is recorded."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        **facts,
        "written": time.time(),
        "machine": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "sk_rqvae": sk_rqvae.__version__,
        "torch": torch.__version__,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
