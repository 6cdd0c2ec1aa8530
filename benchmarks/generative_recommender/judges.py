"""Judge IDs: train recommenders on them, and score what they recommend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from _contract import Codes
from generative_recommender.batches import Histories, query_batches
from generative_recommender.code_tree import (
    CodeTree,
    allowed_codes,
    code_tree,
    full_ids,
)
from generative_recommender.data_sets import DataSet
from generative_recommender.decoding import best_items, generated_items
from generative_recommender.layers import Layout, unpack
from generative_recommender.recommenders import Catalogue, layout_of
from generative_recommender.split import Query
from generative_recommender.training import Plan, Settings, train
from sk_rqvae.metrics import GeneratedIDScores, score_generated_ids

K = 10
NOTHING_SCORED = np.empty(0, dtype=np.float32)
NOT_TESTED = (NOTHING_SCORED, NOTHING_SCORED, float("nan"))
USERS_AT_ONCE = {"cpu": 256, "cuda": 1024}


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes
    ----------
    valid_ndcg : float
    epoch : int
    seconds : float
        Of the stack, divided by its runs.
    test_ndcg : ndarray of shape (n_users,), float32
        NDCG@10. Above 0 if the item is among the first ten. Empty if the plan does not
        test.
    cold_ndcg : ndarray of shape (n_cold_users,), float32
    test_id_recall : float
        Recall@10 that counting IDs without their suffix would have claimed.
    """

    valid_ndcg: float
    epoch: int
    seconds: float
    test_ndcg: np.ndarray
    cold_ndcg: np.ndarray
    test_id_recall: float


def judge(
    data: DataSet,
    codes: Sequence[Codes],
    settings: Sequence[Settings],
    seeds: Sequence[int],
    plan: Plan,
    device: str,
) -> list[Outcome]:
    """Train a stack of recommenders and score each.

    Parameters
    ----------
    data : DataSet
    codes : sequence of ndarray of shape (n_items, n_layers)
        The codes of each run. Of one column of distinct codes if items have no IDs.
    settings, seeds : sequence
        One for each run. All runs have the same loss.
    plan : Plan
    device : str
    """
    start = time.perf_counter()
    bench = _Bench(data, codes, settings[0].loss == "generation", plan, device)
    trained = train(
        bench.layout,
        bench.catalogue,
        Histories.of(data.split.train, bench.device),
        bench.warm,
        settings,
        seeds,
        plan,
        data.source.window,
        data.source.batch_size,
        bench.validate,
    )
    outcomes = []
    for run in range(len(codes)):
        tested = (
            bench.test(trained.flat[run : run + 1], run) if plan.tests else NOT_TESTED
        )
        valid = float(trained.valid_ndcg[run])
        outcomes.append(Outcome(valid, int(trained.epochs[run]), 0.0, *tested))
    seconds = (time.perf_counter() - start) / len(outcomes)
    return [Outcome(**{**vars(outcome), "seconds": seconds}) for outcome in outcomes]


class _Bench:
    """The IDs of all runs on a device, and what is asked of recommenders."""

    def __init__(
        self,
        data: DataSet,
        codes: Sequence[Codes],
        generates: bool,
        plan: Plan,
        device: str,
    ) -> None:
        self.data, self.codes, self.plan = data, codes, plan
        self.device = torch.device(device)
        self.generates = generates
        self.valid = data.split.valid.first(plan.n_valid)
        self.ids = [full_ids(each) if each.shape[1] > 1 else each for each in codes]
        is_cold = data.split.is_cold
        self.warm = torch.from_numpy(~is_cold).to(self.device)
        self.trees: list[CodeTree] = []
        n_codes = 1 + max(int(ids.max()) for ids in self.ids)
        allowed = None
        if generates:
            trees = [code_tree(ids, ~is_cold) for ids in self.ids]
            n_codes = max(tree.children.shape[1] for tree in trees)
            trees = [_widened(tree, n_codes) for tree in trees]
            masks = map(allowed_codes, self.ids, trees)
            allowed = torch.stack(list(masks)).to(self.device)
            self.trees = [tree.to(self.device) for tree in trees]
        stacked = torch.from_numpy(np.stack(self.ids)).to(self.device)
        self.catalogue = Catalogue(stacked, allowed, n_codes)
        self.layout: Layout = layout_of(
            stacked.shape[2], n_codes, data.source.window, generates
        )

    def validate(self, flat: Tensor, run: int) -> float:
        """NDCG@10 of validation items."""
        listed = self.recommend(flat, run, self.valid)
        return float(_scores(listed, self.ids[run], self.valid.targets).ndcg.mean())

    def test(self, flat: Tensor, run: int) -> tuple[np.ndarray, np.ndarray, float]:
        """NDCG@10 of test and of cold items, and recall@10 by IDs without suffix."""
        test, cold = self.data.split.test, self.data.split.cold
        listed = self.recommend(flat, run, test)
        by_id = _scores(listed, self.codes[run], test.targets)
        by_item = _scores(listed, self.ids[run], test.targets)
        listed = self.recommend(flat, run, cold, cold=True)
        cold_scores = _scores(listed, self.ids[run], cold.targets)
        return (
            by_item.ndcg.astype(np.float32),
            cold_scores.ndcg.astype(np.float32),
            float(by_id.id_recall.mean()),
        )

    def _cold_tree(self, run: int) -> CodeTree:
        tree = code_tree(self.ids[run], self.data.split.is_cold)
        return _widened(tree, self.catalogue.n_codes).to(self.device)

    @torch.no_grad()
    def recommend(
        self, flat: Tensor, run: int, query: Query, *, cold: bool = False
    ) -> Codes:
        """List ten items for each user, of shape (n_users, 10)."""
        weights = unpack(flat.detach(), self.layout)
        catalogue = self.catalogue.of(torch.tensor([run], device=self.device))
        find = partial(best_items, weights, catalogue, k=K)
        if self.generates:
            tree = self._cold_tree(run) if cold else self.trees[run]
            beams = self.plan.n_beams
            find = partial(generated_items, weights, catalogue, tree, n_beams=beams)
        candidates = ~self.warm if cold else self.warm
        batches = query_batches(
            query,
            candidates,
            self.data.source.window,
            USERS_AT_ONCE[self.device.type],
        )
        lists = [find(batch=batch)[:, :K].cpu() for batch in batches]
        return torch.cat(lists).numpy()


def _scores(listed: Codes, ids: Codes, targets: Codes) -> GeneratedIDScores:
    generated = np.where(listed[..., None] < 0, -1, ids[listed])
    return score_generated_ids(generated, ids, targets, k=K)


def _widened(tree: CodeTree, n_codes: int) -> CodeTree:
    missing = n_codes - tree.children.shape[1]
    children = torch.nn.functional.pad(tree.children, (0, missing), value=-1)
    return CodeTree(children, tree.begin, tree.end, tree.items)
