"""Steps on PyTorch's device "meta", which stand for steps on any device.

A tensor on "meta" has a shape and no values. An operation that reads a value, and so
would make the host wait for a GPU, fails there.
"""

from __future__ import annotations

import pytest
import torch
from conftest import small
from operation_log import OperationLog

from sk_rqvae import QuantizeForwardMode, RQVAEModule
from sk_rqvae._training.batches import ResidentRows
from sk_rqvae._training.net import EpochTotals, SumOfTerms
from sk_rqvae._training.seeds import Generators
from sk_rqvae._training.settings import check_settings, module_arguments

META = torch.device("meta")
MODES = [mode.value for mode in QuantizeForwardMode]
OPTIONS = [
    {},
    {"codebook_normalize": True},
    {"codebook_sim_vq": True},
    {"n_cat_features": 2},
    {"linear_path": False},
    {"n_beams": 1},
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
