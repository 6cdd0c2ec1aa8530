"""
Semantic IDs as features
========================

A ranking model that looks items up by number knows nothing of an item it has not met.
A semantic ID gives it categorical features that the item shares with its like. How much
do they keep, compared with the embedding they were made from?

1. Turn codes into features, one-hot by level.
2. Classify nouns by them, by fewer of them, and by the raw embeddings.
3. See what happens to codes that are passed as numbers.
4. Count what each costs.
"""

# %%
# The task
# --------
# Nouns belong to 26 categories. Half of them are known, the other half is to be
# classified. The quantizer, as the classifier, learns from the known half only.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

X, y = load_wordnet_nouns(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.5, random_state=0, stratify=y
)

# %%
# One Pipeline
# ------------
# The transformer is a step like any other. ``separate_ids=False`` lets nouns share an
# ID: for features that is the point.

rq = RQVAETransformer(
    codebook_size=64,
    n_layers=3,
    hidden_dims=(256,),
    max_epochs=12,
    separate_ids=False,
    random_state=0,
)
pipeline = make_pipeline(
    rq, OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300)
)
pipeline.fit(X_train, y_train)
print(f"accuracy {pipeline.score(X_test, y_test):.3f}")

# %%
# Against what?
# -------------
# The quantizer is fitted; to compare, its codes are made once. ``crossed`` adds pairs,
# each prefix of two codes as a category of its own, which is how an ID is meant: the
# second code says something only under the first.

codes_train, codes_test = rq.transform(X_train), rq.transform(X_test)


def first(depth):
    return FunctionTransformer(lambda codes: codes[:, :depth])


def with_pairs(codes):
    return np.column_stack([codes, codes[:, 0] * 64 + codes[:, 1]])


onehot = OneHotEncoder(handle_unknown="ignore")
logistic = LogisticRegression(max_iter=300)
by_codes = {
    "codes as numbers": make_pipeline(StandardScaler(), logistic),
    "first code": make_pipeline(first(1), onehot, logistic),
    "first two": make_pipeline(first(2), onehot, logistic),
    "all three": make_pipeline(onehot, logistic),
    "crossed": make_pipeline(FunctionTransformer(with_pairs), onehot, logistic),
}
accuracy = {
    "most frequent": DummyClassifier().fit(X_train, y_train).score(X_test, y_test)
}
for name, classifier in by_codes.items():
    classifier.fit(codes_train, y_train)
    accuracy[name] = classifier.score(codes_test, y_test)

# %%
# Two yardsticks: the reconstructed embedding, which has what the ID has and nothing
# more, and the embedding itself.

decoded_train = rq.inverse_transform(codes_train)
decoded_test = rq.inverse_transform(codes_test)
strong = LogisticRegression(C=30, max_iter=1000)
accuracy["decoded"] = strong.fit(decoded_train, y_train).score(decoded_test, y_test)
accuracy["embedding"] = strong.fit(X_train, y_train).score(X_test, y_test)

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
bars = axes.barh(list(accuracy), list(accuracy.values()))
axes.bar_label(bars, fmt="%.2f", padding=3)
axes.set(xlabel="accuracy on the other half", xlim=(0, 1))
axes.invert_yaxis()

# %%
# What to read from it
# --------------------
# - The embedding is best. Who has it at hand and only wants to classify should use it.
# - As numbers, codes are worth hardly more than guessing: 17 is not near 18.
# - Most of what codes know is in the first; each further level adds less.
# - The reconstruction is no better than codes one-hot, nor are pairs: for these labels
#   the columns of single codes have it all. What separates them from the embedding was
#   lost in quantising.
#
# What speaks for codes is what they cost. An item is three bytes, its features three
# rows of an embedding table that millions of items share:

print(f"embedding: {X.shape[1] * 4} bytes an item")
print(f"codes: 3 bytes an item, and {3 * 64} columns for however many items")
