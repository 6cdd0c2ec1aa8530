"""Work in processes of joblib, which start once for these tests: each imports torch."""

from __future__ import annotations

import contextlib
import io

import joblib
import numpy as np
import pytest
import torch
from conftest import small
from sklearn.model_selection import GridSearchCV

from sk_rqvae import RQVAEModule
from sk_rqvae._progress import no_progress
from sk_rqvae._sklearn.progress_bars import progress_bar


def in_two_processes(function, *calls):
    """The results of calls that share two processes."""
    jobs = (joblib.delayed(function)(*arguments) for arguments in calls)
    return joblib.Parallel(n_jobs=2, backend="loky")(jobs)


def threads_in_use(estimator, X, y=None):
    """A scorer that returns the number of threads of its process."""
    return torch.get_num_threads()


def score(estimator, X, y=None):
    return estimator.score(X)


@pytest.fixture(scope="module")
def searches(blobs):
    """The results of a search in this process and of one in two others."""
    grid = {"codebook_mode": ["ste", "rotation_trick"]}
    return [
        GridSearchCV(
            small(max_epochs=1),
            grid,
            cv=2,
            n_jobs=n_jobs,
            scoring={"score": score, "threads": threads_in_use},
            refit=False,
            error_score="raise",
        )
        .fit(blobs)
        .cv_results_
        for n_jobs in (1, 2)
    ]


def test_a_parallel_search_scores_as_a_serial_one(searches):
    serial, parallel = (found["mean_test_score"] for found in searches)
    # The processes may compute with fewer threads, so sums may be rounded another way.
    np.testing.assert_allclose(serial, parallel, rtol=1e-2)


def test_processes_of_a_search_share_the_cores(searches):
    _, parallel = searches
    shared = max(1, torch.multiprocessing.cpu_count() // 2)
    assert (parallel["mean_test_threads"] <= shared).all()


def test_a_parallel_search_changes_no_thread_settings(blobs):
    threads = torch.get_num_threads(), torch.get_num_interop_threads()
    grid = {"codebook_mode": ["ste", "sinkhorn"]}
    GridSearchCV(small(max_epochs=1), grid, cv=2, n_jobs=2, refit=False).fit(blobs)
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == threads


class SaysItIsATerminal(io.StringIO):
    def isatty(self):
        return True


def would_draw_on_a_terminal():
    with (
        contextlib.redirect_stderr(SaysItIsATerminal()),
        progress_bar("counting", 4, shown=True) as advance,
    ):
        return advance is not no_progress


def test_processes_of_joblib_draw_no_bars():
    assert in_two_processes(would_draw_on_a_terminal, (), ()) == [False, False]
    assert would_draw_on_a_terminal()


def test_a_module_class_of_a_script_is_fitted_and_applied_in_processes(blobs):
    """joblib copies the class and the functions, as no process can import them."""

    class OfAScript(RQVAEModule):
        __module__ = "__main__"

        def compute_loss(self, output):
            return {"mine": super().compute_loss(output)["reconstruction"]}

    def fit(seed):
        return small(module=OfAScript, max_epochs=1, random_state=seed).fit(blobs)

    def transform(model):
        assert model.net_.history[-1, "train_mine"] > 0
        return model.transform(blobs)

    models = in_two_processes(fit, (0,), (1,))
    found = in_two_processes(transform, *((model,) for model in models))
    for model, codes in zip(models, found, strict=True):
        np.testing.assert_array_equal(codes, model.transform(blobs))
