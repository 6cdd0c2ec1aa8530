from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
from conftest import small
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sk_rqvae import scorers
from sk_rqvae.metrics import (
    codebook_usage,
    collision_rate,
    explained_variance,
    reconstruction_error,
)
from sk_rqvae.scorers import (
    codebook_usage_scorer,
    explained_variance_scorer,
    neg_collision_rate_scorer,
    neg_reconstruction_error_scorer,
)

ALL_SCORERS = [getattr(scorers, name) for name in scorers.__all__]
RECONSTRUCTION_SCORERS = [neg_reconstruction_error_scorer, explained_variance_scorer]


class TwoLevelKMeans(TransformerMixin, BaseEstimator):
    """A two-level residual quantizer with only the methods that scorers need."""

    def __init__(self, codebook_size=4):
        self.codebook_size = codebook_size

    def fit(self, X, y=None):
        self.codebooks_ = []
        residual = np.asarray(X, dtype=float)
        for _ in range(2):
            kmeans = KMeans(self.codebook_size, n_init=1, random_state=0).fit(residual)
            self.codebooks_.append(kmeans.cluster_centers_)
            residual = residual - kmeans.cluster_centers_[kmeans.labels_]
        return self

    def transform(self, X):
        codes, residual = [], np.asarray(X, dtype=float)
        for codebook in self.codebooks_:
            distances = ((residual[:, None] - codebook) ** 2).sum(axis=2)
            codes.append(distances.argmin(axis=1))
            residual = residual - codebook[codes[-1]]
        return np.column_stack(codes)

    def get_feature_names_out(self, input_features=None):
        return np.array(["code0", "code1"], dtype=object)

    def inverse_transform(self, X):
        return self.codebooks_[0][X[:, 0]] + self.codebooks_[1][X[:, 1]]


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, size=120)
    X = random.normal(size=(120, 5)) * [1, 10, 100, 0.1, 1] + 50 + 3 * y[:, None]
    return X, y


@pytest.fixture(scope="module")
def fitted(data):
    return TwoLevelKMeans().fit(data[0])


def test_scores_of_a_bare_quantizer_equal_the_metrics(data, fitted):
    X, y = data
    codes = fitted.transform(X)
    X_rec = fitted.inverse_transform(codes)
    expected = {
        neg_reconstruction_error_scorer: -reconstruction_error(X, X_rec),
        explained_variance_scorer: explained_variance(X, X_rec),
        codebook_usage_scorer: codebook_usage(codes, 4).mean(),
        neg_collision_rate_scorer: -collision_rate(codes),
    }
    for scorer, score in expected.items():
        assert scorer(fitted, X) == scorer(fitted, X, y) == score
        assert type(scorer(fitted, X)) is float


def test_in_a_pipeline_the_error_is_in_the_units_of_its_input(data):
    X, _ = data
    scaler = StandardScaler().fit(X)
    rq = TwoLevelKMeans().fit(scaler.transform(X))
    X_rec = scaler.inverse_transform(
        rq.inverse_transform(rq.transform(scaler.transform(X)))
    )
    pipeline = make_pipeline(StandardScaler(), TwoLevelKMeans()).fit(X)
    expected = pytest.approx(-reconstruction_error(X, X_rec))
    assert neg_reconstruction_error_scorer(pipeline, X) == expected
    assert explained_variance_scorer(pipeline, X) == pytest.approx(
        explained_variance(X, X_rec)
    )


def one_hot():
    return OneHotEncoder(handle_unknown="ignore")


@pytest.mark.parametrize("scorer", ALL_SCORERS)
@pytest.mark.parametrize(
    "build",
    [
        lambda: make_pipeline(StandardScaler(), TwoLevelKMeans(), one_hot()),
        lambda: make_pipeline(
            StandardScaler(), TwoLevelKMeans(), one_hot(), LogisticRegression()
        ),
        lambda: make_pipeline(
            make_pipeline(StandardScaler()), make_pipeline(TwoLevelKMeans())
        ),
        lambda: make_pipeline(
            make_pipeline(make_pipeline(StandardScaler(), TwoLevelKMeans()), one_hot()),
            LogisticRegression(),
        ),
        lambda: Pipeline(
            [
                ("nothing", "passthrough"),
                ("scale", StandardScaler()),
                ("none", None),
                ("rq", TwoLevelKMeans()),
                ("last", "passthrough"),
            ]
        ),
        lambda: make_pipeline(
            StandardScaler(copy=False), FunctionTransformer(), TwoLevelKMeans()
        ),
        lambda: make_pipeline(StandardScaler(), TwoLevelKMeans()).set_output(
            transform="pandas"
        ),
        lambda: GridSearchCV(
            make_pipeline(StandardScaler(), TwoLevelKMeans()),
            {"twolevelkmeans__codebook_size": [4]},
            scoring=codebook_usage_scorer,
            cv=2,
        ),
    ],
)
def test_the_quantizer_is_found_wherever_it_is_in_a_pipeline(data, scorer, build):
    X, y = data
    expected = scorer(make_pipeline(StandardScaler(), TwoLevelKMeans()).fit(X), X)
    estimator = build().fit(X.copy(), y)
    assert scorer(estimator, X.copy()) == pytest.approx(expected)


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_a_score_leaves_the_rows_as_they_are(data, scorer):
    X = data[0].copy()
    pipeline = make_pipeline(StandardScaler(copy=False), TwoLevelKMeans())
    pipeline.fit(X.copy())
    assert scorer(pipeline, X) == scorer(pipeline, X)
    assert_array_equal(X, data[0])


class OpenDataSet:
    """Rows in an open file, which cannot be copied but read."""

    def __init__(self, rows):
        self.rows = rows

    @property
    def shape(self):
        return self.rows.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows, dtype=dtype)

    def __reduce__(self):
        raise TypeError("cannot pickle an open file")


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_rows_that_cannot_be_copied_are_read(data, scorer):
    X, _ = data
    pipeline = make_pipeline(StandardScaler(copy=False), TwoLevelKMeans())
    pipeline.fit(X.copy())
    expected = scorer(pipeline, X)
    for rows in (OpenDataSet(X), memoryview(X.copy()), X.tolist()):
        assert scorer(pipeline, rows) == expected


@pytest.mark.parametrize("scorer", [codebook_usage_scorer, neg_collision_rate_scorer])
def test_texts_can_come_one_by_one(scorer):
    texts = [f"{animal} {number}" for animal in ("ant", "bee") for number in range(20)]
    pipeline = make_pipeline(
        TfidfVectorizer(), TruncatedSVD(2, random_state=0), TwoLevelKMeans()
    ).fit(texts)
    expected = scorer(pipeline, texts)
    assert scorer(pipeline, iter(texts)) == expected
    assert scorer(pipeline, (text for text in texts)) == expected


def test_a_pipeline_that_begins_with_the_quantizer_needs_no_inverse(data, fitted):
    X, y = data
    pipeline = make_pipeline(TwoLevelKMeans(), one_hot(), LogisticRegression())
    for scorer in ALL_SCORERS:
        assert scorer(pipeline.fit(X, y), X) == pytest.approx(scorer(fitted, X))


def test_information_lost_before_the_quantizer_counts_as_error(data):
    X, _ = data
    pipeline = make_pipeline(PCA(2), TwoLevelKMeans()).fit(X)
    lossless = PCA(2).fit(X)
    unexplained = 1 - explained_variance(
        X, lossless.inverse_transform(lossless.transform(X))
    )
    assert 1 - explained_variance_scorer(pipeline, X) > unexplained > 0.0


@pytest.mark.parametrize("scorer", RECONSTRUCTION_SCORERS)
def test_the_error_names_a_step_without_an_inverse(data, scorer):
    X, y = data
    inner = Pipeline([("select", SelectKBest(k=3)), ("rq", TwoLevelKMeans())])
    # SelectKBest has an inverse_transform, unlike the step below.
    assert np.isfinite(scorer(inner.fit(X, y), X))

    class Forward(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X

    inner = Pipeline([("forward", Forward()), ("rq", TwoLevelKMeans())])
    with pytest.raises(TypeError, match=r"Step 'forward' \(Forward\) has no inverse"):
        scorer(inner.fit(X), X)
    outer = Pipeline([("scale", StandardScaler()), ("inner", inner)])
    with pytest.raises(TypeError, match=r"Step 'inner__forward' \(Forward\)"):
        scorer(outer.fit(X), X)
    assert codebook_usage_scorer(outer, X) > 0


@pytest.mark.parametrize("scorer", RECONSTRUCTION_SCORERS)
def test_a_function_transformer_without_inverse_func_is_rejected(data, scorer):
    X = np.abs(data[0])
    one_way = make_pipeline(FunctionTransformer(np.log1p), TwoLevelKMeans())
    with pytest.raises(
        TypeError, match=r"'functiontransformer'.* no inverse_transform"
    ):
        scorer(one_way.fit(X), X)
    both_ways = make_pipeline(
        FunctionTransformer(np.log1p, inverse_func=np.expm1), TwoLevelKMeans()
    )
    assert np.isfinite(scorer(both_ways.fit(X), X))


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_an_estimator_without_a_quantizer_is_rejected(data, scorer):
    X, y = data
    with pytest.raises(TypeError, match=r"Got 'estimator' \(LogisticRegression\)"):
        scorer(LogisticRegression().fit(X, y), X)
    with pytest.raises(TypeError, match=r"Got 'standardscaler' .*, 'pca' \(PCA\)"):
        scorer(make_pipeline(StandardScaler(), PCA(2)).fit(X), X)
    with pytest.raises(TypeError, match="Got no steps"):
        scorer(Pipeline([("nothing", "passthrough")]), X)


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_the_error_names_an_unfitted_quantizer(data, scorer):
    with pytest.raises(NotFittedError, match=r"'rq' \(TwoLevelKMeans\) is not fitted"):
        scorer(Pipeline([("rq", TwoLevelKMeans())]), data[0])
    search = GridSearchCV(Pipeline([("rq", TwoLevelKMeans())]), {"rq__n_clusters": [2]})
    with pytest.raises(NotFittedError, match="is not fitted"):
        scorer(search, data[0])


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_two_quantizers_are_an_error(data, scorer):
    pipeline = make_pipeline(TwoLevelKMeans(), TwoLevelKMeans()).fit(data[0])
    with pytest.raises(ValueError, match=r"Expected one quantizer.*Got 2"):
        scorer(pipeline, data[0])


def test_every_level_has_the_same_weight_in_the_usage_score(data, fitted):
    X, _ = data
    uneven = copy.deepcopy(fitted)
    uneven.codebooks_[1] = np.vstack([uneven.codebooks_[1], np.full((4, 5), 1e9)])
    assert codebook_usage_scorer(fitted, X) == 1.0
    assert codebook_usage_scorer(uneven, X) == 0.75


def test_sparse_input_is_compared_dense(data):
    X, _ = data
    scaler = StandardScaler(with_mean=False)
    to_dense = FunctionTransformer(
        lambda X: X.toarray(),
        inverse_func=np.asarray,
        check_inverse=False,
        accept_sparse=True,
    )
    pipeline = make_pipeline(scaler, to_dense, TwoLevelKMeans())
    pipeline.fit(sparse.csr_array(X))
    dense = make_pipeline(StandardScaler(with_mean=False), TwoLevelKMeans()).fit(X)
    assert explained_variance_scorer(pipeline, sparse.csr_array(X)) == pytest.approx(
        explained_variance_scorer(dense, X)
    )


def test_scorers_do_not_modify_the_input(data):
    X = data[0].copy()
    X.setflags(write=False)
    pipeline = make_pipeline(StandardScaler(), TwoLevelKMeans()).fit(X)
    for scorer in ALL_SCORERS:
        scorer(pipeline, X)
    np.testing.assert_array_equal(X, data[0])


@pytest.mark.parametrize("scorer", ALL_SCORERS)
def test_the_repr_of_a_scorer_is_its_name_and_copies_are_identical(scorer):
    assert repr(scorer) in scorers.__all__
    assert getattr(scorers, repr(scorer)) is scorer
    assert copy.deepcopy(scorer) is scorer
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(scorer, protocol)) is scorer
    assert list(inspect.signature(scorer).parameters) == ["estimator", "X", "y"]
    assert scorer.__doc__.startswith(("Negative", "Share"))


def test_a_search_with_a_scorer_can_be_cloned_and_printed():
    search = GridSearchCV(
        TwoLevelKMeans(), {"codebook_size": [2]}, scoring=codebook_usage_scorer
    )
    assert clone(search).scoring is codebook_usage_scorer
    assert "scoring=codebook_usage_scorer" in repr(search)


def test_a_parallel_search_scores_in_worker_processes(data):
    X, _ = data
    search = GridSearchCV(
        make_pipeline(StandardScaler(), TwoLevelKMeans()),
        {"twolevelkmeans__codebook_size": [2, 16]},
        scoring=neg_reconstruction_error_scorer,
        cv=2,
        n_jobs=2,
        error_score="raise",
    )
    search.fit(X)
    assert search.best_params_ == {"twolevelkmeans__codebook_size": 16}
    assert search.score(X) == neg_reconstruction_error_scorer(search.best_estimator_, X)


def test_cross_validation_accepts_several_scorers(data):
    X, _ = data
    named = {repr(scorer): scorer for scorer in ALL_SCORERS}
    results = cross_validate(
        TwoLevelKMeans(),
        X,
        scoring=named,
        cv=3,
        error_score="raise",
        return_estimator=True,
        return_indices=True,
    )
    folds = list(zip(results["estimator"], results["indices"]["test"], strict=True))
    for name, scorer in named.items():
        expected = [scorer(model, X[held_out]) for model, held_out in folds]
        assert results[f"test_{name}"].tolist() == expected


def test_scorers_find_a_quantizer_in_a_frozen_pipeline(data):
    X, _ = data
    fitted = make_pipeline(StandardScaler(), TwoLevelKMeans()).fit(X)
    for scorer in ALL_SCORERS:
        expected = scorer(fitted, X)
        assert scorer(FrozenEstimator(fitted), X) == expected
        assert scorer(make_pipeline(FrozenEstimator(fitted)), X) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scorers_take_the_tensors_that_a_transformer_takes(blobs, dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(blobs[:50], dtype=getattr(torch, dtype), requires_grad=True)
    model = small(max_epochs=1).fit(tensor)
    for scorer in ALL_SCORERS:
        expected = scorer(model, tensor.detach().float().numpy())
        assert scorer(model, tensor) == expected
