from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small

from sk_rqvae import RQVAEModule

BINARY = {"n_cat_features": 2}


def fitted_module(X, **options):
    options = {"max_epochs": 2, "hidden_dims": (8,), **options}
    module = small(**options).fit(X).net_.module_
    # Training leaves the last layers small; larger ones show what they add.
    for part in (module.decoder.mlp, module.decoder.experts):
        for parameter in () if part is None else part.parameters():
            torch.nn.init.normal_(parameter)
    return module


def with_binary_columns(blobs):
    return np.column_stack([blobs, blobs[:, :2] > np.median(blobs[:, :2], axis=0)])


@pytest.fixture
def rows(blobs):
    return blobs[:300]


@pytest.mark.parametrize(
    "options",
    [
        {"n_experts": 5},
        {"n_experts": 0},
        {"n_experts": 0, "decoder_hidden_dims": ()},
        {"n_experts": 3, "decoder_hidden_dims": (7,)},
        {"n_experts": 3, "decoder_hidden_dims": (7, 6)},
        {"n_experts": 3, "decoder_hidden_dims": ()},
        {"n_experts": 5, "codebook_normalize": True},
        {"n_experts": 5, "codebook_sim_vq": True},
        BINARY,
    ],
    ids=str,
)
def test_losses_by_tables_are_those_of_decoded_ids(rows, options):
    X = with_binary_columns(rows) if options is BINARY else rows
    module = fitted_module(X, **options)
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(X.astype(np.float64)))
        codes, _ = module.candidates(x)
        decoded = module.reconstruct(codes.flatten(0, 1))
        decoded = decoded.unflatten(0, codes.shape[:2])
        expected = module.row_losses(x.unsqueeze(1), decoded)
        found = module.tabulated_decoder().losses(x, codes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert len(found.unique()) > len(found)


@pytest.mark.parametrize("decoder_hidden_dims", [(8,), (7, 6)])
def test_the_loss_of_a_candidate_does_not_depend_on_other_rows(
    rows, decoder_hidden_dims
):
    module = fitted_module(rows, n_experts=5, decoder_hidden_dims=decoder_hidden_dims)
    decoder = module.tabulated_decoder()
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(rows.astype(np.float64)))
        codes, _ = module.candidates(x)
        together = decoder.losses(x, codes)
        for part in (slice(7, 8), slice(0, 100), slice(50, 299)):
            assert torch.equal(decoder.losses(x[part], codes[part]), together[part])


@pytest.mark.parametrize("decoder_hidden_dims", [(8,), (7, 6), ()])
def test_losses_are_the_same_by_groups_of_one_expert_and_for_all_ids_at_once(
    rows, decoder_hidden_dims
):
    module = fitted_module(rows, n_experts=5, decoder_hidden_dims=decoder_hidden_dims)
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(rows.astype(np.float64)))
        codes, _ = module.candidates(x)
        decoder = module.tabulated_decoder()
        in_groups = decoder.losses(x, codes)
        decoder._by_expert = None  # as on CUDA
        torch.testing.assert_close(decoder.losses(x, codes), in_groups)


def test_a_decoder_whose_tables_would_be_large_has_none(rows, monkeypatch):
    module = fitted_module(rows, n_experts=5)
    monkeypatch.setattr("sk_rqvae._model.id_decoder._MAX_HIDDEN_VALUES", 100)
    assert module.tabulated_decoder() is None


@pytest.mark.parametrize("name", ["decode", "reconstruct", "row_losses"])
def test_a_module_that_decodes_otherwise_is_asked_itself(rows, name):
    called = []

    def instead(self, *args):
        called.append(name)
        return getattr(RQVAEModule, name)(self, *args)

    module = type("Other", (RQVAEModule,), {name: instead})
    model = small(max_epochs=1, module=module).fit(rows)
    called.clear()
    model.transform(rows)
    assert called


def test_ids_and_candidates_are_found_while_gradients_are_recorded(rows):
    module = fitted_module(rows, n_experts=5)
    x = module.standardize(torch.from_numpy(rows))
    codes, costs = module.candidates(x)
    assert not costs.requires_grad
    with torch.no_grad():
        assert torch.equal(module.candidates(x)[0], codes)


@pytest.mark.parametrize("n_beams", [1, 5])
@pytest.mark.parametrize("k", [1, 2])
def test_with_re_ranking_errors_of_candidates_are_those_of_reconstructions(
    rows, n_beams, k
):
    model = small(n_beams=n_beams, separate_ids=False, max_epochs=1).fit(rows)
    codes, errors = model.candidates(rows, k=k)
    module = model.net_.module_
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(rows))
        decoded = module.reconstruct(torch.from_numpy(codes[:, 0]))
        expected = module.row_losses(x, decoded)
    np.testing.assert_allclose(errors[:, 0], expected, rtol=1e-4)
    if n_beams > 1 or k == 1:
        np.testing.assert_array_equal(codes[:, 0], model.transform(rows))
