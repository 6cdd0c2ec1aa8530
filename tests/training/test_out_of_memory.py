from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from skorch.callbacks import Callback

from sk_rqvae import RQVAEModule

SAID = "Tried to allocate 2.00 GiB"


def without_memory(*args, **kwargs):
    raise torch.cuda.OutOfMemoryError(SAID)


def test_the_error_of_training_out_of_memory_names_parameters_to_lower(
    blobs, monkeypatch
):
    monkeypatch.setattr(RQVAEModule, "forward", without_memory)
    estimator = small(batch_size=123, resident_mb=7)
    with pytest.raises(torch.cuda.OutOfMemoryError) as raised:
        estimator.fit(blobs)
    message = str(raised.value)
    for part in ("batch_size=123", "resident_mb=7", "hidden_dims=(32,)", SAID):
        assert part in message
    assert not hasattr(estimator, "net_")


def test_the_error_names_the_batch_size_that_was_chosen(blobs, monkeypatch):
    monkeypatch.setattr(RQVAEModule, "forward", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="batch_size=1024"):
        small(batch_size=1024).fit(blobs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codebook_size", [9, 8, 7]),
        ("embed_dim", 5),
        ("decoder_hidden_dims", (6, 7)),
        ("n_experts", 3),
    ],
)
def test_every_size_of_a_model_is_named_in_training_and_in_encoding(
    blobs, monkeypatch, name, value
):
    estimator = small(max_epochs=1, **{name: value}).fit(blobs)
    monkeypatch.setattr(RQVAEModule, "forward", without_memory)
    monkeypatch.setattr(RQVAEModule, "find", without_memory)
    for call in (estimator.fit, estimator.transform):
        with pytest.raises(torch.cuda.OutOfMemoryError) as raised:
            call(blobs)
        assert f"{name}={value}" in str(raised.value)


def test_too_many_beams_are_named_in_training(blobs, monkeypatch):
    monkeypatch.setattr(RQVAEModule, "forward", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="n_beams=123"):
        small(n_beams=123).fit(blobs)


def test_parameters_that_fit_chooses_are_not_named(blobs, monkeypatch):
    monkeypatch.setattr(RQVAEModule, "forward", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError) as raised:
        small(embed_dim=None, decoder_hidden_dims=None, n_experts=None).fit(blobs)
    for name in ("embed_dim", "decoder_hidden_dims", "n_experts"):
        assert name not in str(raised.value)


def test_the_error_of_encoding_out_of_memory_names_parameters_to_lower(
    fitted, blobs, monkeypatch
):
    monkeypatch.setattr(RQVAEModule, "find", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"Fit a model .*n_beams=5"):
        fitted.transform(blobs)
    monkeypatch.setattr(RQVAEModule, "reconstruct", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="hidden_dims"):
        fitted.inverse_transform(np.zeros((3, 3), dtype=int))
    monkeypatch.setattr(RQVAEModule, "candidates", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="n_beams=5"):
        fitted.candidates(blobs, k=2)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError("Unable to allocate 2.00 GiB"),
    ],
    ids=["torch", "numpy"],
)
def test_the_error_names_parameters_on_a_cpu_too(blobs, monkeypatch, error):
    def fails(*args):
        raise error

    monkeypatch.setattr(RQVAEModule, "forward", fails)
    with pytest.raises(MemoryError, match="batch_size=123") as raised:
        small(batch_size=123).fit(blobs)
    assert str(error) in str(raised.value)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED",
    ],
)
def test_the_error_names_parameters_where_another_process_fills_the_device(
    blobs, monkeypatch, said
):
    def fails(*args):
        raise RuntimeError(said)

    monkeypatch.setattr(RQVAEModule, "forward", fails)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="batch_size=123"):
        small(batch_size=123).fit(blobs)


def test_other_errors_are_raised_unchanged(blobs, monkeypatch):
    def broken(*args):
        raise RuntimeError("something else")

    monkeypatch.setattr(RQVAEModule, "forward", broken)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        small().fit(blobs)


def test_the_kind_of_error_survives_another_estimator_in_a_callback(blobs, monkeypatch):
    class Nested(Callback):
        def on_epoch_end(self, net, **kwargs):
            fitted.transform(blobs)

    fitted = small(max_epochs=1).fit(blobs)
    monkeypatch.setattr(RQVAEModule, "find", without_memory)
    model = small(max_epochs=1, separate_ids=False, callbacks=[Nested()])
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Or set device='cpu'"):
        model.fit(blobs)
