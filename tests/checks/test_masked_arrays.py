from __future__ import annotations

import numpy as np
import pytest

from sk_rqvae import RQVAETransformer
from sk_rqvae.interactions import cooccurrence
from sk_rqvae.metrics import (
    affinity_lift,
    popularity_groups,
    prefix_label_agreement,
    score_generated_ids,
)

CODES = np.array([[0, 0], [0, 1], [1, 0]])
GENERATED = CODES[None]
NUMBERS = np.ma.masked_equal([1, 2, 0], 0)


@pytest.fixture(scope="module")
def fitted():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    return RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=1).fit(rows)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("labels", lambda: prefix_label_agreement(CODES, NUMBERS)),
        ("popularity", lambda: popularity_groups(NUMBERS)),
        ("affinity", lambda: affinity_lift(CODES, np.ma.masked_equal(np.eye(3), 1))),
        ("histories", lambda: cooccurrence([[0, 1], NUMBERS], n_items=3)),
        ("histories", lambda: cooccurrence((NUMBERS, [0, 1, 2]), n_items=3)),
        ("histories", lambda: cooccurrence(([0, 1, 2], NUMBERS), n_items=3)),
        (
            "generated",
            lambda: score_generated_ids(np.ma.masked_equal(GENERATED, 1), CODES, [0]),
        ),
        ("targets", lambda: score_generated_ids(GENERATED, CODES, [NUMBERS])),
        (
            "popularity",
            lambda: score_generated_ids(GENERATED, CODES, [0], popularity=NUMBERS),
        ),
    ],
)
def test_masked_values_are_refused_and_not_used(name, call):
    with pytest.raises(TypeError, match=f"{name} must not have masked values"):
        call()


def test_masked_codes_are_refused_and_not_decoded(fitted):
    codes = np.ma.masked_equal(CODES, 1)
    with pytest.raises(TypeError, match="X must not have masked values"):
        fitted.inverse_transform(codes)
    with pytest.raises(TypeError, match="prefix must not have masked values"):
        fitted.next_code_distances(np.ones((3, 3)), codes[:, :1])
