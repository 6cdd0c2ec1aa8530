"""Runs: IDs for the items, and a recommender trained on them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from _contract import Matrix
from generative_recommender.identifiers import IDENTIFIERS, index_of
from generative_recommender.records import Records, Result
from generative_recommender.split import Split
from generative_recommender.training import K, Settings, recommend, train
from generative_recommender.trie import Trie

GRID = {"lr": (2e-3, 4e-3), "dropout": (0.2, 0.4)}
# Settings are compared in fewer epochs than the runs have that are reported.
TUNING_EPOCHS = 48
TUNING_PATIENCE = 15


class Trial(NamedTuple):
    """Settings, and what a run with them gave."""

    settings: Settings
    result: Result


def best(trials: Iterable[Trial]) -> dict[str, float]:
    """The point of the grid with the best NDCG of the validation items."""
    settings = max(trials, key=lambda trial: trial.result["valid_ndcg"]).settings
    return {name: getattr(settings, name) for name in GRID}


@dataclass(frozen=True)
class Experiment:
    """What all runs have in common.

    Attributes
    ----------
    X : ndarray of shape (n_items, n_features)
        Embeddings of the items.
    split : Split
    settings : Settings
        Those of all runs, but for what is tuned.
    embedder : str
        The name of what made `X`, for the records.
    records : Records
    """

    X: Matrix
    split: Split
    settings: Settings
    embedder: str
    records: Records

    def tune(self, ids: str, seed: int) -> list[Trial]:
        """Try every point of the grid, in short runs."""
        points = [
            dict(zip(GRID, each, strict=True)) for each in product(*GRID.values())
        ]
        short = replace(
            self.settings,
            max_epochs=min(self.settings.max_epochs, TUNING_EPOCHS),
            patience=TUNING_PATIENCE,
        )
        candidates = [replace(short, **point) for point in points]
        return [Trial(each, self.run(ids, each, seed)) for each in candidates]

    def run(self, ids: str, settings: Settings, seed: int) -> Result:
        """Make IDs of the kind `ids` and train on them; `seed` seeds both."""
        what: dict[str, Any] = {
            "ids": ids,
            "embedder": self.embedder,
            "seed": seed,
            **asdict(settings),
        }
        done = self.records.get(**what)
        if done is None:
            done = self.records.add(self._run(ids, settings, seed), **what)
            print(_line(what, done), file=sys.stderr, flush=True)
        return done

    def _run(self, ids: str, settings: Settings, seed: int) -> Result:
        codes = self.codes(ids, seed)
        start = time.process_time()
        trie = Trie(index_of(codes["codes"]))
        trained = train(trie, self.split, settings, seed)
        ranked = recommend(trained.model, trie, self.split.test, settings.n_beams)
        return {
            "unique": len(set(map(tuple, codes["codes"]))) / len(self.X),
            "epoch": trained.epoch,
            "valid_ndcg": trained.valid_ndcg,
            "ranked": ranked[:, :K].tolist(),
            "seconds": time.process_time() - start,
            "seconds_of_ids": codes["seconds"],
        }

    def codes(self, ids: str, seed: int) -> Result:
        """Codes of the kind `ids` for all items."""
        what = {"codes": ids, "embedder": self.embedder, "seed": seed}
        done = self.records.get(**what)
        if done is None:
            start = time.process_time()
            codes = IDENTIFIERS[ids](self.X, seed).tolist()
            seconds = time.process_time() - start
            done = self.records.add({"codes": codes, "seconds": seconds}, **what)
        return done


def _line(what: dict[str, Any], result: Result) -> str:
    return (
        f"{what['ids']}, seed {what['seed']}, lr {what['lr']:g}, "
        f"dropout {what['dropout']:g}: validation NDCG@10 {result['valid_ndcg']:.4f} "
        f"in epoch {result['epoch']}, {result['seconds']:.0f} s"
    )
