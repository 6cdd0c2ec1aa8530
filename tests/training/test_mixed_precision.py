from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small
from sklearn.base import clone

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae._training import settings as settings_module
from sk_rqvae._training.settings import check_settings

CPU_FLAGS = ("avx512_bf16", "amx_bf16")


class Watched(RQVAEModule):
    """Records the dtypes of a layer, of the latents and of the reconstruction."""

    seen: list

    def forward(self, x):
        hook = self.encoder.mlp[0].register_forward_hook(
            lambda layer, args, out: self.seen.append(("layer", out.dtype))
        )
        output = super().forward(x)
        hook.remove()
        self.seen.append(("latents", output.latents.dtype))
        self.seen.append(("rows", output.reconstruction.dtype))
        return output


@pytest.mark.parametrize("linear_path", [True, False])
@pytest.mark.parametrize(
    ("mixed_precision", "dtype"), [("bf16", torch.bfloat16), ("no", torch.float32)]
)
def test_only_the_layers_multiply_in_bfloat16(
    blobs, mixed_precision, dtype, linear_path
):
    Watched.seen = []
    small(
        module=Watched,
        mixed_precision=mixed_precision,
        linear_path=linear_path,
        max_epochs=1,
    ).fit(blobs)
    assert set(Watched.seen) == {
        ("layer", dtype),
        ("latents", torch.float32),
        ("rows", torch.float32),
    }


def test_encoding_uses_float32_after_mixed_training_too(blobs):
    mixed = small(mixed_precision="bf16").fit(blobs)
    state = mixed.net_.module_.state_dict()
    assert {each.dtype for each in state.values() if each.is_floating_point()} <= {
        torch.float32,
        torch.float64,
    }
    single = pickle.loads(pickle.dumps(mixed))
    single.net_.module_.set_mixed_precision(False)
    np.testing.assert_array_equal(single.transform(blobs), mixed.transform(blobs))


def test_a_row_has_the_same_codes_alone_after_mixed_training(blobs):
    mixed = small(mixed_precision="bf16").fit(blobs)
    codes = mixed.transform(blobs)
    alone = np.concatenate([mixed.transform(row[None]) for row in blobs[:20]])
    np.testing.assert_array_equal(alone, codes[:20])


def test_one_seed_gives_one_model_in_mixed_precision(blobs):
    first, second = (small(mixed_precision="bf16").fit(blobs) for _ in range(2))
    assert_same_model(first, second)


def test_mixed_precision_explains_as_much_variance_as_float32(blobs):
    mixed, single = (
        small(mixed_precision=precision, max_epochs=30).fit(blobs).score(blobs)
        for precision in ("bf16", "no")
    )
    assert mixed == pytest.approx(single, abs=0.01)


def test_mixed_precision_is_kept_by_clones_pickles_and_saved_models(blobs, tmp_path):
    mixed = small(mixed_precision="bf16", max_epochs=1).fit(blobs)
    mixed.save_pretrained(tmp_path / "model")
    for other in (
        clone(mixed),
        pickle.loads(pickle.dumps(mixed)),
        RQVAETransformer.from_pretrained(tmp_path / "model"),
    ):
        assert other.mixed_precision == "bf16"
        assert other.partial_fit(blobs).net_.module_.encoder.mixed_precision


@pytest.mark.parametrize("flag", CPU_FLAGS)
def test_auto_uses_bfloat16_if_the_cpu_has_its_instructions(monkeypatch, flag):
    def settings(able):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda: {flag: able}, raising=False
        )
        return check_settings(small(mixed_precision="auto"))

    assert settings(True).mixed_precision
    assert not settings(False).mixed_precision


def test_auto_uses_float32_if_torch_cannot_name_the_instructions(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not check_settings(small(mixed_precision="auto")).mixed_precision


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_auto_uses_bfloat16_from_compute_capability_8_on(
    monkeypatch, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda")
    assert settings_module._uses_bf16("auto", device) is expected
    assert not settings_module._uses_bf16("no", device)


def test_bf16_is_refused_on_cuda_devices_without_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ValueError, match=r"mixed_precision must be .* Got 'bf16'"):
        settings_module._uses_bf16("bf16", torch.device("cuda"))
