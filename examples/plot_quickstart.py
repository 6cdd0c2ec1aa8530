"""
Semantic IDs from embeddings
============================

A semantic ID is a short tuple of integers that says what an item is like: items that
share its first code are alike, those that share two are more alike. Generative
recommenders use such tuples as words for items. Here 4000 English nouns, embedded by a
sentence encoder, get theirs.

1. Load the embeddings and hold some back.
2. Train an :class:`~sk_rqvae.RQVAETransformer`.
3. Turn nouns into IDs and look at who shares a prefix.
4. Reconstruct embeddings from IDs, in full and coarsely.
"""

# %%
# The data
# --------
# A row is a noun's embedding. Any ``(n_items, dim)`` matrix will do in its place.

import numpy as np
from sklearn.model_selection import train_test_split

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import collision_rate

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
X_train, X_test, words_train, words_test = train_test_split(
    nouns.data, words, test_size=0.1, random_state=0
)
X_train.shape

# %%
# Training
# --------
# The defaults give IDs of three codes out of 256. Twenty epochs keep this page quick.

rq = RQVAETransformer(codebook_size=256, n_layers=3, max_epochs=20, random_state=0)
codes = rq.fit_transform(X_train)
codes[:5]

# %%
# Nearly every noun has an ID of its own:

print(f"{collision_rate(codes):.1%} of the IDs are taken by an earlier noun")

# %%
# Coarse to fine
# --------------
# Nouns that the model never saw fall in with those that it did.

for row in (0, 1, 2):
    unseen = rq.transform(X_test[row : row + 1])[0]
    alike = words_train[(codes[:, :1] == unseen[:1]).all(axis=1)][:6]
    print(f"{words_test[row]} -> {tuple(unseen.tolist())}; first code: {list(alike)}")

# %%
# What an ID keeps
# ----------------
# ``inverse_transform`` takes IDs or prefixes of them. The more codes, the more of the
# variance comes back; :meth:`~sk_rqvae.RQVAETransformer.score` is that share for whole
# IDs, here of nouns that were not trained on.

centred = X_test - X_test.mean(axis=0)
unseen_codes = rq.transform(X_test)
for depth in (1, 2, 3):
    gap = X_test - rq.inverse_transform(unseen_codes[:, :depth])
    print(f"{depth} codes: {1 - (gap**2).sum() / (centred**2).sum():.3f}")
rq.score(X_test)
