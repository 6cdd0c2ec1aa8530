"""
Semantic IDs from embeddings
============================

A semantic ID is a short tuple of integers. Items that share its first code are similar,
and items that share two codes are more similar. Generative recommenders use such tuples
as the words for items. In this example, 4000 English nouns get IDs, computed from the
embeddings of a sentence encoder.

1. Load the embeddings and hold some out.
2. Train an :class:`~sk_rqvae.RQVAETransformer`.
3. Turn nouns into IDs, and look at nouns that share a prefix.
4. Reconstruct embeddings from full IDs and from prefixes.
"""

# %%
# The data
# --------
# Each row is the embedding of a noun. Any ``(n_items, n_features)`` matrix can replace
# it.

import numpy as np
from sklearn.model_selection import train_test_split

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import collision_rate
from sk_rqvae.plotting import IDTreeDisplay

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
X_train, X_test, words_train, words_test = train_test_split(
    nouns.data, words, test_size=0.1, random_state=0
)
print(f"{len(X_train)} nouns to train on, {X_train.shape[1]} numbers each")

# %%
# Training
# --------
# By default IDs have three codes out of 256. Few epochs keep the example fast.

rq = RQVAETransformer(codebook_size=256, n_layers=3, max_epochs=10, random_state=0)
codes = rq.fit_transform(X_train)
for word, code in zip(words_train[:5], codes, strict=False):
    print(word, code)

# %%
# Nearly every noun has its own ID:

print(f"{collision_rate(codes):.1%} of the IDs are taken by an earlier noun")

# %%
# Coarse to fine
# --------------
# Nouns that the model has not seen get the first codes of similar nouns that it has
# seen.

for row in (0, 1, 2):
    unseen = rq.transform(X_test[row : row + 1])[0]
    alike = words_train[codes[:, 0] == unseen[0]][:6]
    print(f"{words_test[row]} {unseen}")
    print("    first code:", ", ".join(alike))

# %%
# IDs are a tree. Here are its largest branches, with the words in them:

display = IDTreeDisplay.from_codes(codes, names=words_train, breadth=(6, 3))

# %%
# How much an ID explains
# -----------------------
# ``inverse_transform`` takes IDs or prefixes of them. The more codes, the more of the
# variance is explained. :meth:`~sk_rqvae.RQVAETransformer.score` is the explained
# variance of full IDs, here for nouns that the model was not trained on.

centred = X_test - X_test.mean(axis=0)
unseen_codes = rq.transform(X_test)
for depth in (1, 2, 3):
    gap = X_test - rq.inverse_transform(unseen_codes[:, :depth])
    print(f"{depth} codes: {1 - (gap**2).sum() / (centred**2).sum():.3f}")
print(f"score: {rq.score(X_test):.3f}")
