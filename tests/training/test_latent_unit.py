from __future__ import annotations

import pytest
import torch
from conftest import small

from sk_rqvae._training.latent_unit import measured_latent_unit


def standardized_rows(model, blobs):
    return model.net_.module_.standardize(torch.from_numpy(blobs).double())


def test_latents_of_principal_components_have_the_unit_of_the_rows(blobs):
    model = small(max_epochs=1, lr=1e-12, restart_dead_codes=False).fit(blobs)
    assert float(model.net_.module_.latent_unit) == pytest.approx(1, abs=0.02)


def test_halving_the_latents_multiplies_the_unit_by_four(blobs):
    model = small(linear_path=False, embed_dim=4).fit(blobs)
    module, x = model.net_.module_, standardized_rows(model, blobs)
    before = measured_latent_unit(module, x)
    with torch.no_grad():
        last, first = module.encoder.mlp[-1], module.decoder.mlp[0]
        last.weight /= 2
        last.bias /= 2
        first.weight *= 2
        for level in module.quantizer.levels:
            level.table /= 2
    torch.testing.assert_close(measured_latent_unit(module, x), 4 * before)


def test_rescaling_the_latents_does_not_change_the_weight_of_prefixes(blobs):
    model = small(linear_path=False, embed_dim=4, prefix_weight=2.0).fit(blobs)
    module, x = model.net_.module_, standardized_rows(model, blobs)
    with torch.no_grad():
        codes, costs = module.candidates(x)
        last, first = module.encoder.mlp[-1], module.decoder.mlp[0]
        last.weight /= 2
        last.bias /= 2
        first.weight *= 2
        module.prefix_offsets /= 2
        for level in module.quantizer.levels:
            level.table /= 2
        module.latent_unit *= 4
        found, same_costs = module.candidates(x)
    assert torch.equal(found, codes)
    torch.testing.assert_close(same_costs, costs)


def test_the_latent_unit_is_finite_if_codes_are_exact():
    rows = torch.eye(4).numpy()
    model = small(codebook_size=4, embed_dim=4, max_epochs=1, lr=1e-12).fit(rows)
    assert torch.isfinite(model.net_.module_.latent_unit)
