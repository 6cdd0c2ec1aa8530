"""
Choosing a quantizer mode by grid search
========================================

How gradients pass the choice of a code is a parameter, ``codebook_mode``. Like any
parameter of a scikit-learn estimator it can be searched, inside a Pipeline and by more
than one score.

1. Put a scaler and the transformer into a Pipeline.
2. Search over the four modes, scoring reconstruction and use of the codebooks.
3. Read the result as a table.
"""

# %%
# A Pipeline
# ----------
# The scorers find the transformer in the Pipeline, whatever comes before it, and
# measure the reconstruction in the units of the data: each step is inverted in turn.

import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.scorers import codebook_usage_scorer, neg_reconstruction_error_scorer

X = load_wordnet_nouns().data[:2000]
pipeline = Pipeline(
    [
        ("scale", StandardScaler(with_std=False)),
        (
            "rq",
            RQVAETransformer(
                codebook_size=64, hidden_dims=(256,), max_epochs=10, random_state=0
            ),
        ),
    ]
)

# %%
# The search
# ----------
# ``refit`` names the score that decides.

search = GridSearchCV(
    pipeline,
    {"rq__codebook_mode": ["ste", "rotation_trick", "gumbel_softmax", "sinkhorn"]},
    scoring={
        "reconstruction": neg_reconstruction_error_scorer,
        "usage": codebook_usage_scorer,
    },
    refit="reconstruction",
    cv=3,
).fit(X)
search.best_params_

# %%
# The table
# ---------
# Scores are means over held-out folds; greater is better.

table = pd.DataFrame(search.cv_results_).set_index("param_rq__codebook_mode")
table[["mean_test_reconstruction", "std_test_reconstruction", "mean_test_usage"]]
