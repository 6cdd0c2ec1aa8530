"""
Semantic IDs as features
========================

A ranking model that looks up items by number knows nothing about a new item. A semantic
ID gives the new item categorical features that it shares with similar items. How much
of the embedding's information do these features keep?

1. Turn codes into features, one-hot by level.
2. Classify nouns with all codes, with fewer codes, and with the embeddings.
3. See what happens if codes are passed as numbers.
4. Compare the sizes.
"""

# %%
# The task
# --------
# Nouns belong to 26 categories. Half of the nouns are the training set, the other half
# is to be classified. Both the quantizer and the classifier are fitted on the training
# set.

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
# ID, which is what features need.

rq = RQVAETransformer(
    codebook_size=64,
    n_layers=3,
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
# What to compare
# ---------------
# The quantizer is fitted already, so the codes are computed once. ``crossed`` adds each
# prefix of two codes as a category of its own. This matches the meaning of an ID: the
# second code refines the first.

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
# Two more classifiers serve for comparison. One uses the reconstructed embedding, which
# contains the same information as the ID. The other uses the embedding itself.

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
# How to read it
# --------------
# - The embedding is best. If you have it and only want to classify, use it.
# - Codes as numbers are hardly better than guessing, because 17 is not close to 18.
# - Most of the information is in the first code. Each further level adds less.
# - Neither the reconstruction nor the pairs are better than one-hot codes. For these
#   labels, single codes are enough. Quantisation loses the rest of what the embedding
#   contains.
#
# The advantage of codes is their size. An item takes three bytes, and its features are
# three rows of an embedding table that all items share:

print(f"embedding: {X.shape[1] * 4} bytes an item")
print(f"codes: 3 bytes an item, and {3 * 64} columns for however many items")
