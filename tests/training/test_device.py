"""Steps on PyTorch's device "meta", which stand for steps on any device.

A tensor on "meta" has a shape and no values. An operation that reads a value, and so
would make the host wait for a GPU, fails there.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small
from operation_log import OperationLog
from scipy.sparse import csr_array
from skorch import NeuralNet

from sk_rqvae import QuantizeForwardMode, RQVAEModule
from sk_rqvae._training import fit
from sk_rqvae._training.batches import ResidentRows, StreamedRows
from sk_rqvae._training.net import EpochTotals, RQVAENet, SumOfTerms
from sk_rqvae._training.present_device import present_device
from sk_rqvae._training.seeds import Generators
from sk_rqvae._training.settings import check_settings, module_arguments
from sk_rqvae._training.task import Task

META = torch.device("meta")
MODES = [mode.value for mode in QuantizeForwardMode]
OPTIONS = [
    {},
    {"codebook_normalize": True},
    {"codebook_sim_vq": True},
    {"n_cat_features": 2},
    {"linear_path": False},
    {"n_beams": 1},
    {"n_experts": 4},
]


def module_on_meta(**changes):
    estimator = small(**changes)
    arguments = module_arguments(estimator, check_settings(estimator), 12, 12)
    return RQVAEModule(**arguments).to(META)


def rows_on_meta(dtype=torch.float32):
    return torch.empty(64, 12, device=META, dtype=dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_training_step_stays_on_its_device_and_reads_no_value(mode, options):
    module = module_on_meta(codebook_mode=mode, **options)
    totals = EpochTotals([16, 16, 16], META)
    rows = ResidentRows(rows_on_meta(), Generators(None, None))
    (batch,) = rows.batches(100, shuffle=True)
    with OperationLog() as log:
        output = module(batch)
        terms = module.compute_loss(output)
        SumOfTerms()(terms).backward()
        totals.add(terms, output.codes)
    assert log.n_operations > 0
    assert log.on_cpu == []
    assert log.waits == []


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_encoding_and_decoding_stay_on_the_device(options):
    module = module_on_meta(**options)
    rows = rows_on_meta(torch.float64)
    with torch.inference_mode(), OperationLog() as log:
        codes = module.assign(module.standardize(rows))
        for depth in (1, 2, 3):
            module.restore(module.reconstruct(codes[:, :depth]))
    assert log.on_cpu == []
    assert log.waits == []


def test_the_record_notices_operations_on_the_cpu():
    with OperationLog() as log:
        torch.ones(3, device=META) * 2
        assert log.on_cpu == []
        torch.ones(3).sum().item()
    assert "ones" in log.on_cpu
    assert log.waits == ["_local_scalar_dense"]


def on_another_machine(monkeypatch, *, n_devices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_devices)


@pytest.mark.parametrize(
    ("device", "n_devices", "there"),
    [("cuda:1", 1, "cuda"), ("cuda:0", 0, "cpu"), ("cuda", 0, "cpu")],
)
def test_a_missing_device_is_replaced_with_a_warning(
    monkeypatch, device, n_devices, there
):
    on_another_machine(monkeypatch, n_devices=n_devices)
    with pytest.warns(UserWarning, match=f"it is on '{there}'. Pass '{there}'"):
        found = present_device(device, to_train_there="Pass {}", stacklevel=1)
    assert found == there


@pytest.mark.parametrize("device", ["cuda:1", "cuda", "cpu", "auto", None])
def test_a_device_that_there_is_is_kept(monkeypatch, device):
    on_another_machine(monkeypatch, n_devices=2)
    assert present_device(device, to_train_there="", stacklevel=1) == device


def test_a_pickle_of_a_second_device_is_read_on_a_machine_with_one(fitted, monkeypatch):
    state = fitted.net_.__getstate__() | {"device": "cuda:1"}
    read = []
    monkeypatch.setattr(
        NeuralNet, "__setstate__", lambda net, state: read.append(state["device"])
    )
    on_another_machine(monkeypatch, n_devices=1)
    net = object.__new__(RQVAENet)
    net.module_ = None
    with pytest.warns(UserWarning, match="it is on 'cuda'"), suppress(AttributeError):
        net.__setstate__(state)
    assert read == ["cuda"]


def test_the_columns_of_behaviour_count_for_the_rows_on_the_device(blobs, monkeypatch):
    kinds = []
    dataset = Task.dataset

    def noted(*args):
        kinds.append(type(made := dataset(*args)))
        return made

    monkeypatch.setattr(Task, "dataset", noted)
    pairs = np.arange(0, len(blobs) - 1, 2)
    ones = np.ones(len(pairs))
    affinity = csr_array((ones, (pairs, pairs + 1)), shape=(len(blobs),) * 2)
    small(resident_mb=blobs.nbytes / 2**20, max_epochs=1).fit(blobs)
    small(resident_mb=blobs.nbytes / 2**20, max_epochs=1).fit(blobs, affinity=affinity)
    assert kinds == [ResidentRows, StreamedRows]


def test_held_out_rows_are_freed_before_ids_are_separated(blobs, monkeypatch):
    alive = []
    separate = fit.price_shared_ids

    def noted(*args, **options):
        gc.collect()
        alive.append([each for each in gc.get_objects() if type(each) is ResidentRows])
        return separate(*args, **options)

    monkeypatch.setattr(fit, "price_shared_ids", noted)
    small(early_stopping=True).fit(blobs)
    assert alive == [[]]


@pytest.mark.parametrize("detects_anomalies", [False, True])
def test_steps_are_not_replayed_while_autograd_detects_anomalies(
    fitted, detects_anomalies
):
    settings = SimpleNamespace(device=torch.device("cuda"), callbacks=[])
    with torch.autograd.set_detect_anomaly(detects_anomalies):
        assert fit._replays_steps(fitted.net_, settings) == (not detects_anomalies)
