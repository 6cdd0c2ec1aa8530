from __future__ import annotations

import copy
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import small, threads_of_torch

from sk_rqvae._inference.in_threads import map_in_threads

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def n_threads(request):
    """What torch is set to."""
    with threads_of_torch(request.param):
        yield request.param


@pytest.mark.parametrize("n_items", [0, 1, 2, 20])
def test_results_come_in_the_order_of_the_items(n_threads, n_items):
    items = [*range(n_items)]
    assert [*map_in_threads(str, items, CPU)] == [str(item) for item in items]


def test_threads_compute_at_the_same_time(n_threads):
    barrier = threading.Barrier(n_threads, timeout=30)
    items = range(2 * n_threads)
    assert len([*map_in_threads(lambda item: barrier.wait(), items, CPU)]) == len(items)


@pytest.mark.parametrize("n_items", [1, 9])
def test_each_item_is_computed_by_one_thread_without_gradients(n_threads, n_items):
    def settings(item):
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    found = [*map_in_threads(settings, range(n_items), CPU)]
    assert found == [(1, True)] * n_items


def threads_of_mkl(item: object = None) -> str:
    lines = torch.__config__.parallel_info().splitlines()
    return next(line for line in lines if "mkl_get_max_threads" in line).split()[-1]


@pytest.mark.skipif(
    not torch.backends.mkl.is_available() or sys.platform != "linux",
    reason="torch has no MKL, or does not offer its functions",
)
@pytest.mark.parametrize("n_items", [1, 9])
def test_mkl_takes_no_threads_of_its_own_for_an_item(n_threads, n_items):
    found = [*map_in_threads(threads_of_mkl, range(n_items), CPU)]
    assert found == ["1"] * n_items
    assert threads_of_mkl() == str(n_threads)


@pytest.mark.parametrize("n_items", [1, 9])
def test_the_thread_of_the_caller_and_later_ones_keep_their_settings(
    n_threads, n_items
):
    assert len([*map_in_threads(str, range(n_items), CPU)]) == n_items
    found = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [n_threads] * 2
    assert not torch.is_inference_mode_enabled()


def test_an_error_reaches_the_caller_and_ends_the_work(n_threads):
    begun = []

    def fails_at_three(item):
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = map_in_threads(fails_at_three, range(1000), CPU)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(begun) <= 4 + n_threads


def test_items_are_read_a_few_ahead_only(n_threads):
    read = []
    items = (read.append(item) or item for item in range(1000))
    results = map_in_threads(int, items, CPU)
    next(results)
    assert len(read) <= n_threads + 1
    results.close()
    assert len(read) <= n_threads + 1


@pytest.mark.parametrize("options", [{"n_experts": 5}, {"rerank": False}], ids=str)
def test_ids_do_not_depend_on_the_number_of_threads(blobs, options):
    model = small(**options).fit(blobs)
    X = np.tile(blobs, (6, 1)) + np.random.default_rng(0).normal(
        size=(6 * len(blobs), 1)
    )
    found = []
    for n_threads in (1, 2, 5):
        with threads_of_torch(n_threads):
            # Tables of an earlier call would hide what depends on threads.
            found.append(copy.deepcopy(model).transform(X))
    for codes in found[1:]:
        np.testing.assert_array_equal(codes, found[0])
