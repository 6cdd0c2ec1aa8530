"""
Choosing a quantizer mode by grid search
========================================

The parameter ``codebook_mode`` selects how gradients pass the choice of a code. Like
any parameter of a scikit-learn estimator, it can be searched, inside a Pipeline and by
more than one score.

1. Put a scaler and the transformer into a Pipeline.
2. Search over the four modes, with scores for reconstruction and codebook usage.
3. Show the result as a table and as a plot.
4. Choose by a rule of your own.
"""

# %%
# A Pipeline
# ----------
# The scorers find the transformer in the Pipeline. They invert the steps before it, and
# so measure the reconstruction in the units of the data.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.scorers import codebook_usage_scorer, explained_variance_scorer

X = load_wordnet_nouns().data[:2000]
pipeline = Pipeline(
    [
        ("scale", StandardScaler(with_std=False)),
        (
            "rq",
            RQVAETransformer(codebook_size=32, max_epochs=8, random_state=0),
        ),
    ]
)

# %%
# The search
# ----------
# ``refit`` names the score that chooses the best candidate.

modes = ["ste", "rotation_trick", "gumbel_softmax", "sinkhorn"]
search = GridSearchCV(
    pipeline,
    {"rq__codebook_mode": modes},
    scoring={"explained": explained_variance_scorer, "usage": codebook_usage_scorer},
    refit="explained",
    cv=3,
    return_train_score=True,
).fit(X)
print(search.best_params_)

# %%
# The table
# ---------
# Scores are means over three folds; greater is better. ``train`` is for fitted rows,
# ``test`` for the held-out fold.

table = pd.DataFrame(search.cv_results_).set_index("param_rq__codebook_mode")
table[
    [
        "mean_train_explained",
        "mean_test_explained",
        "std_test_explained",
        "mean_test_usage",
    ]
].round(3)

# %%
# The plot
# --------
# Dots show the mean, lines the standard deviation over folds. Where lines overlap, the
# modes do not differ by more than the folds do.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 2.8), layout="constrained", sharey=True
)
for axes, score in ((left, "explained"), (right, "usage")):
    axes.errorbar(
        table.loc[modes, f"mean_test_{score}"],
        modes,
        xerr=table.loc[modes, f"std_test_{score}"],
        fmt="o",
        markersize=9,
        linewidth=2.5,
    )
    axes.grid(axis="x", alpha=0.3)
left.set(xlabel="explained variance, held out")
left.invert_yaxis()
left.margins(y=0.2)
right.set(xlabel="usage, held out", xlim=(0.9, 1.01))

# %%
# A rule of your own
# ------------------
# ``refit`` can also be a function of the results that returns the index of the chosen
# candidate. This one takes the candidates whose explained variance is within 0.01 of
# the best, and chooses the mode among them that uses the most codes.


def most_used_of_the_best(results):
    results = pd.DataFrame(results)
    explained = results["mean_test_explained"]
    good = results[explained >= explained.max() - 0.01]
    return good["mean_test_usage"].idxmax()


print(modes[most_used_of_the_best(search.cv_results_)])
