"""Global settings of PyTorch, which the package respects and does not change."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small

from sk_rqvae import RQVAETransformer
from sk_rqvae._model import products
from sk_rqvae._model.behaviour_map import BehaviourMap
from sk_rqvae._persistence.checkpoint_module import CheckpointModule


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("mode", ["ste", "gumbel_softmax", "sinkhorn"])
def test_another_default_dtype_changes_nothing(blobs, mode, request):
    options = {"codebook_mode": mode, "dropout": 0.1, "n_cat_features": 1}
    rows = np.hstack([blobs, blobs[:, :1] > 0])
    expected = small(**options).fit(rows)
    request.getfixturevalue("double_by_default")
    found = small(**options).fit(rows)
    assert_same_model(found, expected)
    np.testing.assert_array_equal(found.transform(rows), expected.transform(rows))
    assert found.inverse_transform(found.transform(rows)).dtype == np.float64


@contextmanager
def for_all_backends():
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def for_one_backend():
    # torch then refuses to say which precision there is.
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


HAS_BACKENDS = hasattr(torch.backends.mkldnn, "matmul")
REDUCED_PRECISION = [
    for_all_backends,
    pytest.param(
        for_one_backend,
        marks=pytest.mark.skipif(not HAS_BACKENDS, reason="needs a newer torch"),
    ),
]


@pytest.fixture(params=REDUCED_PRECISION)
def reduced_precision(request):
    with request.param():
        yield


def test_products_are_exact_if_pytorch_may_round_more(reduced_precision):
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(shape, generator=generator) for shape in ((64, 300), (300, 50))
    )
    summand = torch.randn(50, generator=generator)
    exact = summand.double() - 2 * left.double() @ right.double()
    found = products.addmm(summand, left, right, alpha=-2)
    assert (found - exact).abs().max() < 1e-5
    assert (products.matmul(left, right) + 0.5 * (exact - summand)).abs().max() < 1e-5


@pytest.mark.parametrize("reduced", REDUCED_PRECISION)
@pytest.mark.parametrize(
    "options",
    [{}, {"module": CheckpointModule, "linear_path": False, "n_beams": 1}],
    ids=["ours", "of a checkpoint"],
)
def test_codes_do_not_depend_on_the_precision_that_a_program_sets(
    blobs, reduced, options
):
    model = small(**options).fit(blobs)
    codes = model.transform(blobs)
    with reduced():
        # The copy has no tables, and computes them with the other precision.
        found = copy.deepcopy(model).transform(blobs)
    np.testing.assert_array_equal(found, codes)


def test_predicted_behaviour_does_not_depend_on_the_precision_that_a_program_sets(
    reduced_precision,
):
    generator = torch.Generator().manual_seed(0)
    behaviour = BehaviourMap(n_features=300, n_centres=40, n_outputs=20)
    for name in ("linear", "centres", "coefficients"):
        getattr(behaviour, name).normal_(generator=generator)
    rows = torch.randn(64, 300, generator=generator)
    found = behaviour(rows)
    exact = behaviour.double()(rows.double())
    assert (found - exact).abs().max() < 1e-3


def test_the_precision_that_a_program_sets_is_not_changed(blobs, reduced_precision):
    def settings():
        if not HAS_BACKENDS:
            return torch.get_float32_matmul_precision()
        backends = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)
        return [backend.fp32_precision for backend in backends]

    before = settings()
    small(max_epochs=1).fit(blobs).transform(blobs)
    assert settings() == before


SETTINGS_OF_A_CALLER = {
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "autocast to bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "disabled autocast": lambda: torch.autocast("cpu", enabled=False),
    "default device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
}


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
@pytest.mark.parametrize("setting", SETTINGS_OF_A_CALLER)
def test_a_fit_within_a_setting_of_the_caller_gives_the_same_model(
    blobs, setting, mixed_precision
):
    options = {"early_stopping": True, "mixed_precision": mixed_precision}
    expected = small(**options).fit(blobs)
    with SETTINGS_OF_A_CALLER[setting]():
        found = small(**options).fit(blobs)
    assert_same_model(found, expected)
    expected.partial_fit(blobs)
    with SETTINGS_OF_A_CALLER[setting]():
        found.partial_fit(blobs)
    assert_same_model(found, expected)


@pytest.mark.parametrize("setting", SETTINGS_OF_A_CALLER)
def test_a_setting_of_the_caller_does_not_reach_a_fitted_model(blobs, setting):
    model = small(max_epochs=2).fit(blobs)
    without_tables = copy.deepcopy(model)
    codes = model.transform(blobs)

    def found(model):
        return [
            model.transform(blobs),
            model.inverse_transform(codes),
            model.candidates(blobs)[1],
            model.next_code_distances(blobs, codes[:, :1]),
            model.score(blobs),
            model.report(blobs).explained_variance,
        ]

    expected = found(model)
    with SETTINGS_OF_A_CALLER[setting]():
        within = found(without_tables)
    for one, other in zip(within, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("setting", SETTINGS_OF_A_CALLER)
def test_a_model_is_loaded_within_a_setting_of_the_caller(blobs, tmp_path, setting):
    model = small(max_epochs=1).fit(blobs)
    model.save_pretrained(tmp_path)
    with SETTINGS_OF_A_CALLER[setting]():
        found = type(model).from_pretrained(tmp_path)
    np.testing.assert_array_equal(found.transform(blobs), model.transform(blobs))


def test_settings_of_the_caller_are_there_after_a_call(blobs):
    with torch.device("meta"), torch.autocast("cpu"), torch.no_grad():
        small(max_epochs=1).fit(blobs).transform(blobs)
        assert torch.empty(0).device.type == "meta"
        assert torch.is_autocast_enabled("cpu")
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("options", [{"codebook_sim_vq": True}, {"linear_path": False}])
@pytest.mark.parametrize("setting", SETTINGS_OF_A_CALLER)
def test_a_model_is_fitted_and_read_within_a_setting_of_the_caller(
    blobs, tmp_path, setting, options
):
    expected = small(max_epochs=1, **options).fit(blobs)
    with SETTINGS_OF_A_CALLER[setting]():
        found = small(max_epochs=1, **options).fit(blobs)
        found.save_pretrained(tmp_path)
        read = RQVAETransformer.from_pretrained(tmp_path)
    for each in (found, read):
        assert_same_model(each, expected)
        for one, other in zip(each.codebooks_, expected.codebooks_, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.usefixtures("double_by_default")
def test_normalised_codebooks_are_fitted_where_double_is_the_default(blobs):
    model = small(codebook_normalize=True, max_epochs=1).fit(blobs)
    assert model.codebooks_[0].dtype == np.float32
