from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from sk_rqvae import _process_lock
from sk_rqvae._process_lock import ProcessLock


@pytest.mark.parametrize("new_lock", [threading.Lock, threading.RLock])
def test_threads_of_a_forked_process_share_its_lock(monkeypatch, new_lock):
    both_make_one, holders = threading.Barrier(2, timeout=10), []

    def made_at_the_same_time():
        both_make_one.wait()
        return new_lock()

    def work():
        with lock.of_this_process():
            holders.append(threading.get_ident())
            time.sleep(0.01)
            assert holders == [threading.get_ident()]
            holders.clear()

    lock = ProcessLock(made_at_the_same_time)
    monkeypatch.setattr(_process_lock, "os", SimpleNamespace(getpid=lambda: -1))
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(work), threads.submit(work)]:
            done.result()


def test_the_lock_is_no_generator_that_a_kept_traceback_would_keep_locked():
    lock = ProcessLock(threading.Lock).of_this_process()
    assert type(lock) is type(threading.Lock())
