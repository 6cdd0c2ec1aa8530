"""The quality of fits. Margins are wider than the differences between seeds."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from filelock import FileLock
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from sk_rqvae import QuantizeForwardMode, RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import codebook_usage, collision_rate

# A test may need the models of all modes, and a busy machine fits them slowly.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

N_FITTED = 3600
N_CODES = 64
MODES = [mode.value for mode in QuantizeForwardMode]


def nouns():
    X = load_wordnet_nouns().data
    return X[:N_FITTED], X[N_FITTED:]


def fit(X, **changes):
    """A smaller network than the default's and fewer epochs, which gain less."""
    parameters = {
        "codebook_size": N_CODES,
        "hidden_dims": (512,),
        "decoder_hidden_dims": (512,),
        "max_epochs": 10,
        "random_state": 0,
        "mixed_precision": "no",
    }
    return RQVAETransformer(**(parameters | changes)).fit(X)


@pytest.fixture(scope="session")
def on_nouns(tmp_path_factory, worker_id):
    """Models of nouns by mode and initialisation, each fitted once in a test run.

    Test processes share them as files: whoever needs a model first fits it, and others
    that need it wait.
    """
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent

    def model(mode, kmeans_init=True):
        path = folder / f"nouns-{mode}-{kmeans_init}.joblib"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                rq = fit(
                    nouns()[0], codebook_mode=mode, codebook_kmeans_init=kmeans_init
                )
                joblib.dump(rq, path)
            return joblib.load(path)

    return model


class ResidualKMeans:
    """Greedy k-means, level after level."""

    def __init__(self, X, n_codes, n_layers=3):
        self.mean, self.levels = X.mean(0), []
        residual = X - self.mean
        for _ in range(n_layers):
            level = KMeans(n_codes, n_init=1, random_state=0).fit(residual)
            residual = residual - level.cluster_centers_[level.labels_]
            self.levels.append(level)

    def unexplained(self, X, depth=3):
        """Share of the variance of `X` that the first `depth` codes do not explain."""
        residual = X - self.mean
        total = np.square(X - X.mean(0)).sum()
        for level in self.levels[:depth]:
            residual = residual - level.cluster_centers_[level.predict(residual)]
        return np.square(residual).sum() / total


@pytest.fixture(scope="module")
def residual_kmeans():
    return ResidualKMeans(nouns()[0], N_CODES)


def test_it_reconstructs_better_than_residual_kmeans(on_nouns, residual_kmeans):
    fitted, unseen = nouns()
    rq = on_nouns("ste")
    assert 1 - rq.score(fitted) < 0.97 * residual_kmeans.unexplained(fitted)
    assert 1 - rq.score(unseen) < 0.97 * residual_kmeans.unexplained(unseen)


def test_every_prefix_explains_nearly_as_much_as_residual_kmeans(
    on_nouns, residual_kmeans
):
    fitted, _ = nouns()
    explained = on_nouns("ste").report(fitted).explained_variance
    for depth, share in enumerate(explained, start=1):
        assert share > 0.9 * (1 - residual_kmeans.unexplained(fitted, depth))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "ste"])
def test_no_mode_is_far_behind_the_default(on_nouns, mode):
    fitted, unseen = nouns()
    default, rq = on_nouns("ste"), on_nouns(mode)
    assert rq.score(fitted) > 0.87 * default.score(fitted)
    assert rq.score(unseen) > 0.88 * default.score(unseen)


@pytest.mark.parametrize("kmeans_init", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_uses_nearly_all_codes_whatever_the_initialisation(
    on_nouns, mode, kmeans_init
):
    codes = on_nouns(mode, kmeans_init).transform(nouns()[0])
    assert min(codebook_usage(codes, N_CODES)) >= 0.98


@pytest.mark.parametrize("mode", MODES)
def test_random_codebooks_are_not_far_behind_kmeans_on_unseen_rows(on_nouns, mode):
    _, unseen = nouns()
    at_random, by_kmeans = (
        on_nouns(mode, kmeans_init) for kmeans_init in (False, True)
    )
    # Two seeds of the rotation trick gave 0.84 and 0.87.
    assert at_random.score(unseen) > 0.82 * by_kmeans.score(unseen)


def test_nearly_all_fitted_rows_have_a_unique_id(on_nouns):
    assert collision_rate(on_nouns("ste").transform(nouns()[0])) < 0.002


def test_distant_clusters_are_reconstructed_as_well_as_by_kmeans():
    X, _ = make_blobs(
        2000, 32, centers=16, cluster_std=0.3, center_box=(-1, 1), random_state=0
    )
    kmeans = ResidualKMeans(X, n_codes=16)
    assert 1 - fit(X, codebook_size=16).score(X) < 1.05 * kmeans.unexplained(X)


def test_rows_with_outliers_are_reconstructed_better_than_by_kmeans():
    """The factors have heavy tails: one row has a tenth of all variance."""
    random = np.random.default_rng(5)
    factors = random.standard_t(3, size=(4000, 16)) * np.arange(16, 0, -1) ** 2
    X = factors @ random.normal(size=(16, 64))
    X = (X + X.std() * random.standard_t(3, size=X.shape) / 20).astype(np.float32)
    kmeans = ResidualKMeans(X, N_CODES)
    assert 1 - fit(X).score(X) < kmeans.unexplained(X)


def test_nearly_as_many_codes_as_rows_reconstruct_the_rows_exactly():
    fitted, _ = nouns()
    rq = fit(fitted[:68], max_epochs=None)
    assert rq.score(fitted[:68]) > 1 - 1e-4
    assert rq.n_iter_ == 1
