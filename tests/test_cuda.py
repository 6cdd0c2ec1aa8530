from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small
from operation_log import OperationLog
from skorch.callbacks import Callback

from sk_rqvae import QuantizeForwardMode

MODES = [mode.value for mode in QuantizeForwardMode]

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def tensors_of(net):
    module = net.module_
    yield from module.parameters()
    yield from module.buffers()
    for state in net.optimizer_.state.values():
        yield from (each for each in state.values() if torch.is_tensor(each))


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", torch.device("cuda")])
def test_all_tensors_of_a_model_are_on_its_device(blobs, device):
    estimator = small(device=device, max_epochs=1).fit(blobs)
    assert {each.device.type for each in tensors_of(estimator.net_)} == {"cuda"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"codebook_normalize": True},
        {"codebook_sim_vq": True},
        {"early_stopping": True},
        {"resident_mb": 0},
        {"n_cat_features": 2},
        {"codebook_kmeans_init": False},
    ],
    ids=str,
)
def test_every_mode_and_option_trains_encodes_and_decodes(blobs, mode, options):
    rows = blobs.copy()
    rows[:, -2:] = rows[:, -2:] > 0
    estimator = small(device="cuda", codebook_mode=mode, **options).fit(rows)
    codes = estimator.transform(rows)
    assert codes.dtype == np.int64
    back = estimator.inverse_transform(codes)
    assert np.isfinite(back).all()
    assert estimator.score(rows) > 0.3
    estimator.partial_fit(rows)
    assert isinstance(estimator.codebooks_[0], np.ndarray)


class WatchSteps(Callback):
    """Record what happens between the first batch of an epoch and its last."""

    def on_epoch_begin(self, net, **kwargs):
        self.log_ = OperationLog()
        self.n_batches_ = 0

    def on_batch_begin(self, net, **kwargs):
        self.log_.__enter__()

    def on_batch_end(self, net, **kwargs):
        self.log_.__exit__(None, None, None)
        self.n_batches_ += 1


@pytest.mark.parametrize("mode", MODES)
def test_a_step_makes_no_tensor_on_the_cpu_and_waits_for_nothing(blobs, mode):
    watch = WatchSteps()
    small(device="cuda", codebook_mode=mode, batch_size=100, callbacks=[watch]).fit(
        blobs
    )
    assert watch.n_batches_ == 6
    assert watch.log_.on_cpu == []
    assert watch.log_.waits == []


# As by default, and with so many codes in a batch that PyTorch sorts them to add up the
# gradients of codes.
AS_BY_DEFAULT = [
    {"mixed_precision": "bf16", "batch_size": 100},
    {"mixed_precision": "bf16", "batch_size": 1024, "n_layers": 4},
]


@pytest.mark.parametrize("options", [{"batch_size": 100}, *AS_BY_DEFAULT], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_does_not_synchronise(blobs, mode, options):
    """PyTorch itself raises at any operation that would wait for the device."""

    class Strict(Callback):
        def on_batch_begin(self, net, **kwargs):
            torch.cuda.set_sync_debug_mode("error")

        def on_batch_end(self, net, **kwargs):
            torch.cuda.set_sync_debug_mode("default")

    try:
        small(device="cuda", codebook_mode=mode, callbacks=[Strict()], **options).fit(
            np.concatenate([blobs] * 9)
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def replays(monkeypatch):
    """The CUDA graphs that were replayed, once for each time."""
    made = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph,
        "replay",
        lambda graph: (made.append(graph), replay(graph)),
    )
    return made


@pytest.mark.parametrize("mode", MODES)
def test_replayed_steps_train_the_model_that_ordinary_steps_train(blobs, mode, replays):
    options = {
        "device": "cuda",
        "codebook_mode": mode,
        "batch_size": 64,
        "dropout": 0.1,
    }
    replayed = small(**options).fit(blobs)
    assert len(replays) > len(replayed.net_.history)
    replays.clear()
    # With a callback of the user, each step is made on its own.
    ordinary = small(**options, callbacks=[Callback()]).fit(blobs)
    assert replays == []
    first = replayed.net_.history[:, "train_loss"]
    second = ordinary.net_.history[:, "train_loss"]
    np.testing.assert_allclose(first, second, rtol=0.02)
    assert replayed.score(blobs) == pytest.approx(ordinary.score(blobs), abs=0.02)


@pytest.mark.parametrize("options", AS_BY_DEFAULT, ids=str)
def test_steps_in_bfloat16_and_of_many_codes_are_replayed(blobs, options, replays):
    rows = np.concatenate([blobs] * 9)
    replayed = small(device="cuda", **options).fit(rows)
    assert replays
    ordinary = small(device="cuda", **options, callbacks=[Callback()]).fit(rows)
    assert replayed.score(rows) == pytest.approx(ordinary.score(rows), abs=0.02)


def test_a_pass_of_partial_fit_and_early_stopping_replay_steps(blobs, replays):
    estimator = small(device="cuda", batch_size=32, early_stopping=True).fit(blobs)
    assert replays
    replays.clear()
    score = estimator.score(blobs)
    estimator.partial_fit(blobs)
    assert replays
    assert estimator.score(blobs) == pytest.approx(score, abs=0.1)
    assert all(each.grad is None for each in estimator.net_.module_.parameters())


def test_two_threads_can_train_on_one_device(blobs, replays):
    def fit(seed):
        return small(device="cuda", batch_size=32, random_state=seed).fit(blobs)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fit, (0, 1)))
    for seed, estimator in enumerate(together):
        assert estimator.score(blobs) == pytest.approx(fit(seed).score(blobs), abs=0.05)


def test_codes_are_the_same_in_any_chunks_and_order(on_cuda, blobs):
    codes = on_cuda.transform(blobs)
    order = np.random.default_rng(0).permutation(len(blobs))
    np.testing.assert_array_equal(on_cuda.transform(blobs[order]), codes[order])
    alone = np.concatenate([on_cuda.transform(row[None]) for row in blobs[:20]])
    np.testing.assert_array_equal(alone, codes[:20])
    back = on_cuda.inverse_transform(codes)
    np.testing.assert_array_equal(on_cuda.inverse_transform(codes[:7]), back[:7])


def test_cuda_and_cpu_agree_on_nearly_all_codes(on_cuda, blobs):
    on_cpu = pickle.loads(pickle.dumps(on_cuda))
    on_cpu.net_.module_.to("cpu")
    assert (on_cpu.transform(blobs) == on_cuda.transform(blobs)).mean() > 0.99
    assert on_cpu.score(blobs) == pytest.approx(on_cuda.score(blobs), abs=1e-3)


def test_renamed_codes_have_their_names_on_the_device(on_cuda, blobs):
    maps = [np.roll(np.arange(16), level + 1) for level in range(3)]
    renamed = on_cuda.rename_codes(maps)
    codes, names = on_cuda.transform(blobs), renamed.transform(blobs)
    for level, code_map in enumerate(maps):
        np.testing.assert_array_equal(names[:, level], code_map[codes[:, level]])
    back = renamed.inverse_transform(names)
    np.testing.assert_array_equal(back, on_cuda.inverse_transform(codes))


def test_one_seed_gives_nearly_one_model(blobs):
    """Sums of floats on CUDA may be rounded in another order, seeds are the same."""
    first, second = (small(device="cuda", max_epochs=1).fit(blobs) for _ in range(2))
    for one, other in zip(first.codebooks_, second.codebooks_, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_global_generators_of_all_devices_do_not_change(blobs):
    torch.cuda.manual_seed_all(3)
    before = torch.cuda.get_rng_state_all(), torch.get_rng_state()
    for device in ("cpu", "cuda"):
        small(device=device, max_epochs=1).fit(blobs)
    for one, other in zip(torch.cuda.get_rng_state_all(), before[0], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before[1])


def test_a_pickle_loads_on_cuda_and_gives_the_same_ids(on_cuda, blobs):
    again = pickle.loads(pickle.dumps(on_cuda))
    assert again.net_.module_.input_mean.device.type == "cuda"
    np.testing.assert_array_equal(again.transform(blobs), on_cuda.transform(blobs))
    assert again.partial_fit(blobs).n_iter_ == on_cuda.n_iter_ + 1


RELOAD = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    loaded = pickle.load(file)
np.save(sys.argv[3], loaded.transform(np.load(sys.argv[2])))
loaded.set_params(device="auto").partial_fit(np.load(sys.argv[2]))
print(loaded.net_.module_.input_mean.device.type)
"""


def test_a_pickle_loads_in_a_process_that_sees_no_cuda(on_cuda, blobs, tmp_path):
    np.save(tmp_path / "rows.npy", blobs)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(on_cuda))
    names = ("model.pickle", "rows.npy", "codes.npy")
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "cpu"
    codes = np.load(tmp_path / "codes.npy")
    assert (codes == on_cuda.transform(blobs)).mean() > 0.99


def test_a_model_can_continue_training_on_another_device(blobs):
    estimator = small(device="cpu", warm_start=True, max_epochs=1).fit(blobs)
    estimator.set_params(device="cuda").partial_fit(blobs)
    assert {each.device.type for each in tensors_of(estimator.net_)} == {"cuda"}
    estimator.set_params(device="cpu").fit(blobs)
    assert {each.device.type for each in tensors_of(estimator.net_)} == {"cpu"}


def test_a_device_that_does_not_exist_is_refused(blobs):
    with pytest.raises(ValueError, match=r"device='cuda:99' does not exist"):
        small(device="cuda:99").fit(blobs)


def test_a_failed_fit_does_not_change_a_model_on_cuda(blobs):
    class Fail(Callback):
        def on_batch_end(self, net, **kwargs):
            raise RuntimeError("stop")

    estimator = small(device="cuda", max_epochs=1).fit(blobs)
    codes = estimator.transform(blobs)
    with pytest.raises(RuntimeError, match="stop"):
        estimator.set_params(callbacks=[Fail()]).partial_fit(blobs)
    np.testing.assert_array_equal(estimator.transform(blobs), codes)
