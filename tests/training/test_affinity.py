from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
import torch
from conftest import assert_same_model, small
from scipy.sparse import coo_matrix, csr_array
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import RQVAETransformer
from sk_rqvae._initialization import behaviour_vectors as module_of_vectors
from sk_rqvae._initialization.behaviour_vectors import behaviour_vectors
from sk_rqvae.metrics import affinity_lift

N_ITEMS, N_KNOWN = 600, 500


class Catalogue:
    """Items whose groups are only in minor directions of their rows.

    Items of one group belong together. Those after `N_KNOWN` are new: no affinity of
    theirs is known.
    """

    def __init__(self):
        rng = np.random.default_rng(0)
        self.group = rng.integers(8, size=N_ITEMS)
        main = 2 * rng.normal(size=(N_ITEMS, 10))
        minor = np.eye(8)[self.group] + 0.1 * rng.normal(size=(N_ITEMS, 8))
        self.X = np.hstack([main, minor])
        same = self.group[:, np.newaxis] == self.group
        seen = same & (rng.random(same.shape) < 0.3)
        self.known = self.X[:N_KNOWN]
        self.affinity = csr_array(seen[:N_KNOWN, :N_KNOWN].astype(float))
        self.same_group = csr_array(same.astype(float))


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue()


@pytest.fixture(scope="module")
def plain(catalogue):
    return small().fit(catalogue.known)


@pytest.fixture(scope="module")
def behavioural(catalogue):
    return small().fit(catalogue.known, affinity=catalogue.affinity)


def test_items_that_belong_together_share_prefixes(catalogue, plain, behavioural):
    before = affinity_lift(plain.transform(catalogue.known), catalogue.affinity)
    after = affinity_lift(behavioural.transform(catalogue.known), catalogue.affinity)
    assert after[1] > 3 * before[1]


def test_new_items_get_the_ids_of_their_kind(catalogue, plain, behavioural):
    new = catalogue.X[N_KNOWN:]
    truth = catalogue.same_group[N_KNOWN:][:, N_KNOWN:]
    before = affinity_lift(plain.transform(new), truth)
    after = affinity_lift(behavioural.transform(new), truth)
    assert after[1] > 3 * before[1]


def test_fit_transform_passes_affinity_on(catalogue, behavioural):
    codes = small().fit_transform(catalogue.known, affinity=catalogue.affinity)
    assert (codes == behavioural.transform(catalogue.known)).all()


def test_transform_depends_on_each_row_alone(catalogue, behavioural):
    codes = behavioural.transform(catalogue.X)
    assert (behavioural.transform(catalogue.X[::-7]) == codes[::-7]).all()


def test_reconstructions_have_the_columns_of_x(catalogue, plain, behavioural):
    codes = behavioural.transform(catalogue.known)
    assert behavioural.inverse_transform(codes).shape == catalogue.known.shape
    # IDs have the same number of bits for behaviour and rows together.
    known = catalogue.known
    assert 0.5 < behavioural.score(known) < plain.score(known)


def test_a_report_shows_what_affinity_costs_and_gains(catalogue, plain, behavioural):
    X, affinity = catalogue.known, catalogue.affinity
    before, after = (model.report(X, affinity) for model in (plain, behavioural))
    assert after.affinity_lift[1] > 3 * before.affinity_lift[1]
    assert after.explained_variance[-1] == behavioural.score(X)
    assert after.explained_variance[-1] < before.explained_variance[-1]


def test_a_higher_affinity_weight_follows_affinity_more(catalogue):
    X, affinity = catalogue.known, catalogue.affinity
    low, high = (
        small(affinity_weight=weight).fit(X, affinity=affinity) for weight in (0.1, 4)
    )
    assert (
        affinity_lift(high.transform(X), affinity)[0]
        > affinity_lift(low.transform(X), affinity)[0]
    )
    assert high.score(X) < low.score(X)


def test_a_weight_of_zero_ignores_affinity(catalogue, plain):
    model = small(affinity_weight=0)
    assert_same_model(plain, model.fit(catalogue.known, affinity=catalogue.affinity))


def test_a_weight_of_zero_ignores_affinity_in_later_fits_too(catalogue):
    model = small(max_epochs=1, affinity_weight=0, warm_start=True)
    for fit in (model.fit, model.fit, model.partial_fit):
        fit(catalogue.known, affinity=catalogue.affinity)
    assert model.n_iter_ == 3


def test_a_seed_repeats_a_fit_with_affinity(catalogue, behavioural):
    again = small().fit(catalogue.known, affinity=catalogue.affinity)
    assert_same_model(behavioural, again)


def test_the_unit_and_the_diagonal_of_affinity_do_not_matter(catalogue, behavioural):
    other = catalogue.affinity.tolil() * 4
    other.setdiag(7)
    again = small().fit(catalogue.known, affinity=csr_array(other))
    codes = behavioural.transform(catalogue.known)
    assert (again.transform(catalogue.known) == codes).mean() > 0.99


def test_one_direction_of_a_pair_is_enough(catalogue, behavioural):
    halves = catalogue.affinity + catalogue.affinity.T
    upper = coo_matrix(2 * np.triu(halves.toarray()))
    symmetric = small().fit(catalogue.known, affinity=halves)
    assert_same_model(symmetric, small().fit(catalogue.known, affinity=upper))


def one_group(n_members):
    """Affinity of items of which the first belong together, all equally."""
    members = np.arange(N_KNOWN) < n_members
    return csr_array(np.outer(members, members).astype(float))


@pytest.mark.parametrize("n_members", [2, 50, N_KNOWN])
def test_affinity_with_one_group_of_equals_changes_nothing_and_warns(
    catalogue, plain, n_members
):
    with pytest.warns(UserWarning, match="affinity has no effect: no items in it"):
        model = small().fit(catalogue.known, affinity=one_group(n_members))
    assert model.net_.module_.n_behaviour == 0
    assert model.score(catalogue.known) == pytest.approx(
        plain.score(catalogue.known), abs=0.02
    )


def test_affinity_of_rows_without_weight_changes_nothing_and_says_so(catalogue):
    weights = (np.arange(N_KNOWN) >= 50).astype(float)
    with pytest.warns(
        UserWarning, match=r"affinity has no effect: .* rows of sample weight zero"
    ):
        model = small().fit(
            catalogue.known, affinity=one_group(50), sample_weight=weights
        )
    assert model.net_.module_.n_behaviour == 0


def test_it_also_says_so_if_the_other_rows_have_different_weights(catalogue):
    weights = np.arange(N_KNOWN, dtype=float).clip(49) - 49
    with pytest.warns(UserWarning, match=r"affinity has no effect: .* sample weight"):
        model = small().fit(
            catalogue.known, affinity=one_group(50), sample_weight=weights
        )
    assert model.net_.module_.n_behaviour == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"resident_mb": 0.01},
        {"early_stopping": True},
        {"linear_path": False, "embed_dim": 6},
        {"codebook_normalize": True},
        {"n_beams": 1, "rerank": False},
    ],
    ids=str,
)
def test_every_way_to_train_takes_affinity(catalogue, plain, changes):
    model = small(**changes).fit(catalogue.known, affinity=catalogue.affinity)
    truth = catalogue.affinity
    after = affinity_lift(model.transform(catalogue.known), truth)
    before = affinity_lift(plain.transform(catalogue.known), truth)
    assert after[1] > 1.5 * before[1]


def test_binary_columns_stay_probabilities(catalogue):
    X = np.hstack([catalogue.known, catalogue.known[:, :3] > 0])
    model = small(n_cat_features=3).fit(X, affinity=catalogue.affinity)
    binary = model.inverse_transform(model.transform(X))[:, -3:]
    assert ((binary > 0.5) == X[:, -3:]).mean() > 0.7


def test_rows_without_affinity_are_treated_like_new_ones(catalogue):
    padded = catalogue.affinity.copy()
    padded.resize(N_ITEMS, N_ITEMS)
    model = small().fit(catalogue.X, affinity=padded)
    new = model.transform(catalogue.X[N_KNOWN:])
    truth = catalogue.same_group[N_KNOWN:][:, N_KNOWN:]
    assert affinity_lift(new, truth)[1] > 3


def test_it_takes_sample_weights_beside_affinity(catalogue):
    weights = np.where(np.arange(N_KNOWN) % 5, 1.0, 0.0)
    used = weights > 0
    both = small().fit(
        catalogue.known, affinity=catalogue.affinity, sample_weight=weights
    )
    cut = catalogue.affinity[used][:, used]
    assert_same_model(small().fit(catalogue.known[used], affinity=cut), both)


def test_saved_and_pickled_models_give_the_same_ids(catalogue, behavioural, tmp_path):
    codes = behavioural.transform(catalogue.X)
    behavioural.save_pretrained(tmp_path / "model")
    behavioural.net_.save_params(f_params=tmp_path / "weights.pt")
    loaded = [
        RQVAETransformer.from_pretrained(tmp_path / "model"),
        RQVAETransformer.load_from_checkpoint(tmp_path / "weights.pt"),
        pickle.loads(pickle.dumps(behavioural)),
    ]
    for model in loaded:
        assert (model.transform(catalogue.X) == codes).all()


@pytest.mark.slow
def test_an_onnx_file_gives_the_same_ids(catalogue, tmp_path):
    """Two levels and one beam, with which an export takes a fourth of the time."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small(n_layers=2, n_beams=1)
    model.fit(catalogue.known, affinity=catalogue.affinity)
    assert model.net_.module_.behaviour_map is not None
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = catalogue.X.astype(np.float32)
    (codes,) = session.run(None, {"rows": rows})
    assert (codes == model.transform(rows)).mean() > 0.99


# Training that continues


def test_later_batches_bring_affinity_of_their_own(catalogue):
    first, second = slice(0, 250), slice(250, 500)
    affinity = catalogue.affinity
    model = small().partial_fit(catalogue.X[first], affinity=affinity[first][:, first])
    n_before = model.net_.module_.behaviour_map.shape[0]
    model.partial_fit(catalogue.X[second], affinity=affinity[second][:, second])
    assert model.net_.module_.behaviour_map.shape[0] > n_before
    model.partial_fit(catalogue.X[first])
    lift = affinity_lift(model.transform(catalogue.known), affinity)
    without = small().partial_fit(catalogue.X[first]).partial_fit(catalogue.X[second])
    assert lift[1] > 2 * affinity_lift(without.transform(catalogue.known), affinity)[1]


def test_later_affinity_without_groups_leaves_the_map_and_warns(catalogue):
    affinity = catalogue.affinity
    model = small(max_epochs=1).partial_fit(catalogue.known, affinity=affinity)
    before = model.net_.module_.behaviour_map.centres.clone()
    everything = csr_array(np.ones((N_KNOWN, N_KNOWN)) - np.eye(N_KNOWN))
    with pytest.warns(UserWarning, match="affinity has no effect"):
        model.partial_fit(catalogue.known, affinity=everything)
    assert torch.equal(model.net_.module_.behaviour_map.centres, before)


def test_affinity_cannot_come_first_in_a_later_fit(catalogue, plain):
    model = pickle.loads(pickle.dumps(plain))
    before = model.transform(catalogue.known)
    with pytest.raises(
        ValueError, match="affinity must have an effect in the first fit"
    ):
        model.partial_fit(catalogue.known, affinity=catalogue.affinity)
    assert (model.transform(catalogue.known) == before).all()


def test_affinity_that_had_no_effect_may_have_none_again(catalogue):
    everything = csr_array(np.ones((N_KNOWN, N_KNOWN)))
    model = small(max_epochs=1, warm_start=True)
    for _ in range(2):
        with pytest.warns(UserWarning, match="affinity has no effect"):
            model.fit(catalogue.known, affinity=everything)


def test_the_affinity_weight_stays_while_training_continues(catalogue):
    model = small(warm_start=True).fit(catalogue.known, affinity=catalogue.affinity)
    model.set_params(affinity_weight=2.0)
    with pytest.raises(
        ValueError, match=r"affinity_weight is 1\.0 in the fitted model"
    ):
        model.fit(catalogue.known, affinity=catalogue.affinity)


# What is refused


def square(value, n_rows=N_KNOWN):
    return csr_array(([value, 1.0], ([0, 1], [1, 2])), shape=(n_rows, n_rows))


@pytest.mark.parametrize(
    ("affinity", "error", "message"),
    [
        (np.ones((N_KNOWN, N_KNOWN)), TypeError, "affinity must be a scipy sparse"),
        ([[0, 1], [1, 0]], TypeError, "affinity must be a scipy sparse.*Got list"),
        (square(1.0, 7), ValueError, r"\(500, 500\). Got \(7, 7\)"),
        (
            csr_array((N_KNOWN, N_ITEMS)),
            ValueError,
            r"rows were cut, as cross-validation does.*affinity\[rows\]\[:, rows\]",
        ),
        (square(-1.0), ValueError, "affinity must not be negative. Got -1.0"),
        (square(np.nan), ValueError, "affinity contains NaN"),
        (square(np.inf), ValueError, "affinity contains infinity"),
        (csr_array((N_KNOWN, N_KNOWN)), ValueError, "a positive value outside"),
        (csr_array(np.eye(N_KNOWN)), ValueError, "a positive value outside"),
    ],
    ids=lambda value: None,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_invalid_affinity_is_refused(catalogue, affinity, error, message, method):
    with pytest.raises(error, match=message):
        getattr(small(), method)(catalogue.known, affinity=affinity)


def test_a_dask_collection_takes_affinity_if_all_of_it_is_read(catalogue, behavioural):
    dask_array = pytest.importorskip("dask.array")
    rows = dask_array.from_array(catalogue.known, chunks=(100, -1))
    model = small().fit(rows, affinity=catalogue.affinity)
    assert_same_model(behavioural, model)
    with pytest.raises(ValueError, match="raise resident_mb, so that all rows of X"):
        small(resident_mb=0.01).fit(rows, affinity=catalogue.affinity)


# Metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_a_pipeline_passes_affinity_and_weights_on(catalogue, routing):
    weights = 1.0 + np.arange(N_KNOWN) % 3
    step = small().set_fit_request(affinity=True, sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scaler, step)
    pipeline.fit(catalogue.known, affinity=catalogue.affinity, sample_weight=weights)
    direct = small().fit(
        StandardScaler().fit_transform(catalogue.known),
        affinity=catalogue.affinity,
        sample_weight=weights,
    )
    assert_same_model(direct, pipeline[-1])


def test_cross_validation_cannot_cut_affinity(catalogue, routing):
    step = small().set_fit_request(affinity=True)
    with pytest.raises(ValueError, match="rows were cut, as cross-validation does"):
        cross_val_score(
            step,
            catalogue.known,
            params={"affinity": catalogue.affinity},
            error_score="raise",
        )


# The parts


def test_vectors_of_behaviour_are_equal_within_separate_groups():
    group = np.repeat([0, 1, 2], [5, 9, 4])
    affinity = csr_array((group[:, np.newaxis] == group) * 3.0 - 3.0 * np.eye(18))
    vectors = behaviour_vectors(affinity, np.random.default_rng(0))
    expected = group[:, np.newaxis] == group
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-6)


def test_large_matrices_give_the_vectors_of_small_ones(monkeypatch):
    rng = np.random.default_rng(0)
    group = rng.integers(6, size=700)
    same = (group[:, np.newaxis] == group) & (rng.random((700, 700)) < 0.3)
    affinity = csr_array((same | same.T).astype(float) * (1 - np.eye(700)))
    sparse = behaviour_vectors(affinity, np.random.default_rng(0))
    monkeypatch.setattr(module_of_vectors, "_DENSE_SIZE", 700)
    dense = behaviour_vectors(affinity, np.random.default_rng(0))
    np.testing.assert_allclose(sparse @ sparse.T, dense @ dense.T, atol=0.05)


def test_affinity_works_where_torch_has_another_default_dtype(catalogue, behavioural):
    torch.set_default_dtype(torch.float64)
    try:
        again = small().fit(catalogue.known, affinity=catalogue.affinity)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_model(behavioural, again)
