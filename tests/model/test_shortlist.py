from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import small
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae._model.assignment import SHORTLIST_BUFFERS
from sk_rqvae._model.shortlist import refined_costs
from sk_rqvae.index.code_model import Route
from sk_rqvae.index.fingerprint import fingerprint
from sk_rqvae.metrics import explained_variance

WIDE = {"hidden_dims": (16,), "decoder_hidden_dims": (2560,), "max_epochs": 20}


class DoubledLoss(RQVAEModule):
    def row_losses(self, x, reconstruction):
        return 2 * super().row_losses(x, reconstruction)


@pytest.fixture(scope="module")
def wide(blobs):
    return small(**WIDE).fit(blobs)


def copy_with(estimator, rerank):
    copied = pickle.loads(pickle.dumps(estimator))
    copied.net_.module_.rerank = rerank
    return copied


def has_shortlist(estimator):
    module = estimator.net_.module_
    return module.prepare_assignment().shortlist is not None


def test_estimating_errors_first_costs_hardly_any_quality(wide, blobs):
    unseen = blobs + np.float32(0.05) * np.sign(blobs[::-1])
    for rows in (blobs, unseen):
        by_estimates, exact, nearest = (
            explained_variance(rows, model.inverse_transform(model.transform(rows)))
            for model in (wide, copy_with(wide, "exact"), copy_with(wide, False))
        )
        assert by_estimates > exact - 0.002
        assert by_estimates > nearest
    same = wide.transform(blobs) == copy_with(wide, "exact").transform(blobs)
    assert same.all(axis=1).mean() > 0.9


@settings(max_examples=10)
@given(data=st.data())
def test_codes_do_not_depend_on_the_rows_beside_them(wide, blobs, data):
    codes = wide.transform(blobs)
    order = data.draw(st.lists(st.integers(0, len(blobs) - 1), min_size=1, max_size=40))
    np.testing.assert_array_equal(wide.transform(blobs[order]), codes[order])


def test_a_reloaded_model_gives_the_same_codes(wide, blobs, tmp_path):
    pytest.importorskip("safetensors")
    codes = wide.transform(blobs)
    wide.save_pretrained(tmp_path)
    reloaded = RQVAETransformer.from_pretrained(tmp_path)
    assert has_shortlist(reloaded)
    np.testing.assert_array_equal(reloaded.transform(blobs), codes)
    unpickled = pickle.loads(pickle.dumps(wide))
    np.testing.assert_array_equal(unpickled.transform(blobs), codes)


def test_looked_up_hidden_units_give_the_reconstructions_of_the_decoder(wide):
    module = wide.net_.module_
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (300, 3), generator=generator)
    prepared = module.prepare_assignment().shortlist
    with torch.no_grad():
        expected = module.reconstruct(codes)
    torch.testing.assert_close(prepared.decode(codes), expected)


def test_the_lookup_clips_long_latents_as_the_decoder_does(wide):
    module = pickle.loads(pickle.dumps(wide)).net_.module_
    with torch.no_grad():
        for level in module.quantizer.levels:
            level.table.mul_(20)
        codes = torch.arange(16).unsqueeze(1).expand(-1, 3)
        expected = module.reconstruct(codes)
        found = module.prepare_assignment().shortlist.decode(codes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_candidates_come_with_exact_errors(wide, blobs):
    found, errors = wide.candidates(blobs[:50], k=4)
    expected, exact = copy_with(wide, "exact").candidates(blobs[:50], k=4)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(errors, exact)


@pytest.mark.parametrize(
    "changes",
    [
        {"rerank": "exact"},
        {"rerank": False},
        {"n_beams": 1},
        {"n_cat_features": 2},
        {"module": DoubledLoss},
        {"decoder_hidden_dims": (64,)},
        {"decoder_hidden_dims": (2560, 8)},
    ],
)
def test_other_models_estimate_no_errors(blobs, changes):
    rows = blobs[:200].copy()
    rows[:, -2:] = rows[:, -2:] > 0
    model = small(**(WIDE | {"max_epochs": 1} | changes)).fit(rows)
    assert not has_shortlist(model)
    assert model.transform(rows).shape == (len(rows), 3)


def test_a_partial_fit_leaves_no_estimates_of_the_model_before(wide, blobs):
    model = pickle.loads(pickle.dumps(wide))
    model.partial_fit(blobs)
    assert not has_shortlist(model)
    assert has_shortlist(model.set_params(warm_start=True, max_epochs=1).fit(blobs))


def test_what_estimates_errors_belongs_to_the_fingerprint(wide):
    other = pickle.loads(pickle.dumps(wide))
    same = fingerprint(Route([], wide)) == fingerprint(Route([], other))
    other.net_.module_.shortlist_margin.mul_(2)
    assert same
    assert fingerprint(Route([], wide)) != fingerprint(Route([], other))


def test_folders_without_a_narrow_decoder_decode_all_candidates(wide, blobs, tmp_path):
    pytest.importorskip("safetensors")
    from sk_rqvae._persistence.assemble import assemble

    state = {
        name: value
        for name, value in wide.net_.module_.state_dict().items()
        if name not in SHORTLIST_BUFFERS
    }
    old = small(**WIDE)
    assemble(old, blobs.shape[1], state, [])
    assert not has_shortlist(old)
    expected = copy_with(wide, "exact").transform(blobs)
    np.testing.assert_array_equal(old.transform(blobs), expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shortlist_units", lambda units: units + 2560),
        ("shortlist_units", lambda units: -1 - units),
        ("shortlist_readout", lambda readout: readout[:-1]),
        ("shortlist_axes", lambda axes: axes[:0]),
        ("shortlist_margin", lambda margin: margin.repeat(2)),
    ],
)
def test_a_narrow_decoder_that_does_not_fit_is_refused(wide, blobs, name, change):
    from sk_rqvae._persistence.assemble import assemble

    state = dict(wide.net_.module_.state_dict())
    state[name] = change(state[name])
    with pytest.raises(ValueError, match="shortlist"):
        assemble(small(**WIDE), blobs.shape[1], state, [])


def exact_from(table, seen):
    def exact_costs(rows, which):
        seen.append(len(rows))
        return table[rows, which]

    return exact_costs


@given(seed=st.integers(0, 1000), margin=st.floats(0, 3))
def test_close_estimates_are_replaced_by_exact_costs(seed, margin):
    generator = torch.Generator().manual_seed(seed)
    exact = torch.rand(30, 6, generator=generator)
    estimates = exact + 5 + torch.rand(30, 6, generator=generator)
    seen = []
    costs = refined_costs(estimates, torch.tensor([margin]), exact_from(exact, seen))
    is_close = estimates <= estimates.amin(1, keepdim=True) + margin
    is_close &= is_close.sum(1, keepdim=True) > 1
    assert torch.equal(costs[is_close], exact[is_close])
    # Blocks of one size, whatever the number of close estimates.
    assert set(seen) <= {128}


def test_a_constant_error_of_all_estimates_changes_nothing():
    exact = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
    costs = refined_costs(exact + 3, torch.tensor([0.3]), exact_from(exact, []))
    assert torch.equal(costs.argmin(1), exact.argmin(1))
