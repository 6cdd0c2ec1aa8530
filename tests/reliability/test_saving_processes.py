from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import small

from sk_rqvae import RQVAETransformer

load = RQVAETransformer.from_pretrained


@pytest.fixture(scope="module")
def other(blobs):
    """A model that is not `fitted`."""
    return small(random_state=1, max_epochs=1).fit(blobs)


def run_savers(models, folder, *tasks):
    """Run tasks of ``model_savers.py`` with two models."""
    saved = [folder / "first", folder / "second"]
    for model, path in zip(models, saved, strict=True):
        model.save_pretrained(path)
    script = Path(__file__).with_name("model_savers.py")
    done = subprocess.run(
        [sys.executable, script, folder, *saved, *tasks],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def counts(fitted, other, tmp_path_factory):
    """The results of a few processes, which are started once for all tests."""
    if os.name != "posix":
        pytest.skip("forks and kills processes")
    return run_savers(
        (fitted, other),
        tmp_path_factory.mktemp("savers"),
        "save_at_once=10",
        "kill_at_random=20",
        "kill_at_every_step=0",
    )


def check_saved_at_once(counts, n):
    assert counts["failed"] == 0
    assert sum(counts["winners"]) == n
    assert counts["leftovers"] == 0


def check_killed_at_random(counts, n):
    assert sum(counts["loaded"]) == n
    assert counts["interrupted"] > 0
    assert counts["leftovers"] == 0


def test_one_of_two_processes_that_save_at_once_wins_and_readers_never_fail(counts):
    check_saved_at_once(counts["save_at_once"], n=10)


def test_a_process_that_is_killed_while_saving_leaves_a_model_that_loads(counts):
    check_killed_at_random(counts["kill_at_random"], n=20)


def test_a_kill_at_any_step_of_saving_leaves_the_old_or_the_new_model(counts):
    counts = counts["kill_at_every_step"]
    assert counts["steps"] > 10
    assert min(counts["loaded"]) > 0
    assert sum(counts["loaded"]) == counts["steps"]
    assert counts["leftovers"] == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")
def test_many_races_and_kills_lose_no_model(fitted, other, tmp_path):
    counts = run_savers(
        (fitted, other), tmp_path, "save_at_once=60", "kill_at_random=60"
    )
    check_saved_at_once(counts["save_at_once"], n=60)
    check_killed_at_random(counts["kill_at_random"], n=60)


def test_threads_that_save_and_load_at_once_see_complete_models(
    fitted, other, tmp_path
):
    models, errors = [fitted, other], []
    expected = {model.codebooks_[0].tobytes() for model in models}
    fitted.save_pretrained(tmp_path)

    def work(model):
        try:
            for _ in range(10):
                model.save_pretrained(tmp_path)
                assert load(tmp_path).codebooks_[0].tobytes() in expected
        except (AssertionError, OSError, ValueError) as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(model,)) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_loading_does_not_wait_for_a_fit_in_another_thread(
    blobs, fitted, tmp_path, monkeypatch
):
    from sk_rqvae._training.net import RQVAENet

    fitted.save_pretrained(tmp_path)
    in_fit, loaded = threading.Event(), threading.Event()
    train_step = RQVAENet.train_step

    def held_up(self, batch, **options):
        in_fit.set()
        assert loaded.wait(60)
        return train_step(self, batch, **options)

    monkeypatch.setattr(RQVAENet, "train_step", held_up)
    model = small(max_epochs=1)
    fit = threading.Thread(target=model.fit, args=(blobs,))
    fit.start()
    assert in_fit.wait(60)
    reader = threading.Thread(target=load, args=(tmp_path,), daemon=True)
    reader.start()
    reader.join(20)
    was_waiting = reader.is_alive()
    loaded.set()
    fit.join()
    reader.join()
    assert not was_waiting


def test_loading_and_fitting_at_once_do_not_change_the_fit(blobs, fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    again, stop = small(), threading.Event()

    def read():
        while not stop.is_set():
            load(tmp_path)

    reader = threading.Thread(target=read)
    reader.start()
    again.fit(blobs)
    stop.set()
    reader.join()
    np.testing.assert_array_equal(again.transform(blobs), fitted.transform(blobs))
