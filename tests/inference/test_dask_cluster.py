from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from conftest import assert_same_model, small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client():
    """Two worker processes of this machine, with a nanny each that restarts them."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def worker_pids(client):
    return set(client.run(os.getpid).values())


def test_two_processes_give_the_codes_and_rows_of_one(client, fitted, blobs):
    rows = da.from_array(blobs, chunks=(70, 12))
    codes = fitted.transform(rows)
    back = fitted.inverse_transform(codes)
    assert len(worker_pids(client) - {os.getpid()}) == 2
    expected = fitted.transform(blobs)
    np.testing.assert_array_equal(client.compute(codes).result(), expected)
    np.testing.assert_array_equal(
        client.compute(back).result(), fitted.inverse_transform(expected)
    )


def test_training_on_a_clusters_array_gives_the_model_of_its_rows(
    client, blobs, fitted
):
    rows = client.persist(da.from_array(blobs, chunks=(70, 12)))
    assert_same_model(small().fit(rows), fitted)


class Slowly:
    """Delay each block, and create a file for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, block, block_info=None):
        time.sleep(0.2)
        position = block_info[0]["chunk-location"][0]
        (self.folder / f"{position}-{os.getpid()}").touch()
        return block


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


def test_a_worker_killed_in_the_middle_loses_nothing(client, fitted, blobs, tmp_path):
    before = worker_pids(client)
    rows = da.from_array(blobs, chunks=(20, 12)).map_blocks(
        Slowly(tmp_path), dtype="f4", meta=blobs[:0]
    )
    future = client.compute(fitted.transform(rows))
    wait_for(lambda: len(list(tmp_path.iterdir())) >= 8)
    victim = min(before)
    assert not future.done()
    os.kill(victim, signal.SIGKILL)
    np.testing.assert_array_equal(future.result(), fitted.transform(blobs))
    wait_for(lambda: len(worker_pids(client)) == 2)
    assert victim not in worker_pids(client)


def where(estimator, X, y=None):
    """A score that is the number of the process that computed it."""
    return float(os.getpid())


def score(estimator, X, y=None):
    return estimator.score(X)


def test_a_grid_search_runs_on_the_cluster_and_finds_what_it_finds_here(client, blobs):
    grid = {"codebook_size": [4, 8, 12]}
    search = GridSearchCV(
        small(max_epochs=1),
        grid,
        cv=2,
        scoring={"score": score, "where": where},
        refit="score",
    )
    here = clone(search).fit(blobs)
    with joblib.parallel_config(backend="dask"):
        there = search.fit(blobs)
    processes = {
        int(process)
        for split in range(2)
        for process in there.cv_results_[f"split{split}_test_where"]
    }
    assert processes <= worker_pids(client)
    assert there.best_params_ == here.best_params_
    np.testing.assert_allclose(
        there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"]
    )
    assert_same_model(there.best_estimator_, here.best_estimator_)
