"""Processes that save models to one folder at once, or are killed while they do.

Run as ``python model_savers.py FOLDER FIRST SECOND TASK=N ...``, where FIRST and SECOND
are folders with saved models. It prints what each task counted, as JSON. Importing the
library takes seconds, so the processes are forks of this one.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

from sk_rqvae import RQVAETransformer

load = RQVAETransformer.from_pretrained

_PATIENCE = 120  # seconds; only a process that hangs takes longer


def fork(function):
    """Run a function in another process, whose exit status is 0 if it returns."""
    with warnings.catch_warnings():
        # From Python 3.12 on: this process has threads, of libraries.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    try:
        function()
        os._exit(0)
    finally:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def ended_well(process):
    return os.waitpid(process, 0)[1] == 0


def which(model, models):
    """The number of a model, by its first codebook."""
    found = model.codebooks_[0].tobytes()
    return [each.codebooks_[0].tobytes() for each in models].index(found)


def leftovers(folder):
    """Files that do not belong to a saved model."""
    weights = len(list(folder.glob("*.safetensors")))
    return weights - 1 + len(list(folder.glob(".*.tmp")))


def save_at_once(folder, models, n):
    """Two processes save, once each, and a third one reads until they have ended.

    A fork takes longer than to save, so the processes are the same in all rounds.
    """
    context = multiprocessing.get_context("fork")
    begin, end = context.Barrier(4), context.Barrier(4)
    n_saved, n_failed = context.Value("i"), context.Value("i")
    counts = {"winners": [0, 0], "leftovers": 0}

    def repeat(work):
        for _ in range(n):
            begin.wait(_PATIENCE)
            try:
                work()
            except (AssertionError, OSError, ValueError):
                sys.excepthook(*sys.exc_info())
                with n_failed:
                    n_failed.value += 1
            end.wait(_PATIENCE)

    def save(model):
        try:
            model.save_pretrained(folder)
        finally:
            with n_saved:
                n_saved.value += 1

    def read():
        is_over = False
        while not is_over:
            is_over = n_saved.value == len(models)
            which(load(folder), models)

    tasks = [*(functools.partial(save, model) for model in models), read]
    processes = [fork(functools.partial(repeat, task)) for task in tasks]
    try:
        for _ in range(n):
            shutil.rmtree(folder, ignore_errors=True)
            models[0].save_pretrained(folder)
            n_saved.value = 0
            begin.wait(_PATIENCE)
            end.wait(_PATIENCE)
            counts["winners"][which(load(folder), models)] += 1
            counts["leftovers"] += leftovers(folder)
    except BaseException:
        begin.abort()  # nobody waits for a round that does not come
        raise
    n_ended_badly = sum([not ended_well(process) for process in processes])
    return counts | {"failed": n_failed.value + n_ended_badly}


def kill_at_random(folder, models, n):
    """A process that saves one model after the other is killed at some moment."""
    counts = {"loaded": [0, 0], "interrupted": 0, "leftovers": 0}
    begun = time.monotonic()
    models[0].save_pretrained(folder)
    seconds = time.monotonic() - begun
    rng = random.Random(0)

    def save():
        while True:
            for model in models:
                model.save_pretrained(folder)

    for _ in range(n):
        process = fork(save)
        time.sleep(rng.uniform(0, 6 * seconds))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        counts["loaded"][which(load(folder), models)] += 1
        counts["interrupted"] += leftovers(folder) > 0
    models[0].save_pretrained(folder)
    counts["leftovers"] = leftovers(folder)
    return counts


def kill_at_every_step(folder, models, n):
    """A process is killed before each of its changes to the disk in turn."""
    counts = {"loaded": [0, 0], "leftovers": 0, "steps": 0}
    models[0].save_pretrained(folder)
    done = False
    while not done:
        counts["steps"] += 1
        process = fork(lambda: save_and_die(folder, models[1], counts["steps"]))
        done = ended_well(process)
        counts["loaded"][which(load(folder), models)] += 1
        models[0].save_pretrained(folder)
        counts["leftovers"] += leftovers(folder)
    return counts


def save_and_die(folder, model, step):
    left = [step]

    def dying(change):
        def changed(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **kwargs)

        return changed

    Path.replace = dying(Path.replace)
    Path.unlink = dying(Path.unlink)
    Path.chmod = dying(Path.chmod)
    os.fsync = dying(os.fsync)
    os.open = dying(os.open)
    model.save_pretrained(folder)


if __name__ == "__main__":
    folder, first, second, *tasks = sys.argv[1:]
    models = [load(first), load(second)]
    counts = {}
    for task, _, n in (each.partition("=") for each in tasks):
        counts[task] = globals()[task](Path(folder) / task, models, int(n))
    print(json.dumps(counts))  # noqa: T201
