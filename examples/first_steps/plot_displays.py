"""
Plots of a model
================

Four plots show whether training went well and what the IDs mean. They are the displays
of ``sk_rqvae.plotting`` and need matplotlib: ``pip install ".[plot]"``
in a checkout.

1. Did training go well? The losses, and the reconstruction of held-out rows.
2. Are the codebooks used? The share of the items that each code has.
3. What do the codes mean? The tree of IDs, with words.
4. Where are the codes? The items in a plane, coloured by their first code.

Each display takes a fitted transformer, alone or in a Pipeline. It draws on new axes,
or on the ``ax`` that you pass.
"""

# %%
# A model
# -------
# 4000 English nouns get IDs of three codes out of 64. WordNet divides its nouns into 26
# categories, such as *noun.animal*. The model does not see them; they serve as labels.
# ``early_stopping=True`` holds out a tenth of the rows.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.plotting import (
    CodebookUsageDisplay,
    IDTreeDisplay,
    ItemMapDisplay,
    TrainingHistoryDisplay,
)

nouns = load_wordnet_nouns()
X = nouns.data
words = [text.split(":")[0].split(",")[0] for text in nouns.text]
kinds = np.array([name.removeprefix("noun.") for name in nouns.target_names])
labels = kinds[nouns.target]

rq = RQVAETransformer(
    codebook_size=64,
    embed_dim=32,
    max_epochs=30,
    early_stopping=True,
    random_state=0,
).fit(X)
rq.report(X)

# %%
# Did training go well?
# ---------------------
# The loss is a sum, and its terms develop differently. The reconstruction loss should
# fall. The codebook and commitment losses are distances in latent space, and grow if
# the encoder spreads the latents. A rising sum is therefore not a bad sign by itself.
#
# The dashed line is the reconstruction loss of held-out rows. If it rises while that of
# the training rows falls, the model overfits. The dot marks the epoch whose weights are
# kept.

TrainingHistoryDisplay.from_estimator(rq)

# %%
# Are the codebooks used?
# -----------------------
# Codes are sorted, the most frequent first. The closer a curve is to the dashed line,
# the more evenly the level's codes are used, and the more information an ID carries.

CodebookUsageDisplay.from_estimator(rq, X)

# %%
# A collapsed codebook looks different. In this artificial one, half of the codes are
# never used, and a few have most of the items. Crosses are codes without items.

rng = np.random.default_rng(0)
collapsed = np.minimum(rng.geometric(0.15, size=(len(X), 1)) - 1, 31)

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained", sharey=True
)
CodebookUsageDisplay.from_codes(rq.transform(X)[:, :1], 64, ax=left)
CodebookUsageDisplay.from_codes(collapsed, 64, ax=right)
left.set_title("in order")
right.set_title("collapsed")

# %%
# What do the codes mean?
# -----------------------
# IDs are a tree: the first code is a coarse group, the second a finer group inside it.
# Each column is a level, and the extensions of a prefix are to its right. Only the
# prefixes with the most items are drawn, with the number of items in parentheses; grey
# rectangles stand for the others. The colour is that of the most frequent label, and
# the text gives its share of the items.

display = IDTreeDisplay.from_estimator(rq, X, labels, names=words)

# %%
# The items of a first code rarely belong to one category, because the model does not
# know WordNet's categories. Items that share two codes often belong to one category.
#
# ``breadth`` is the number of prefixes to draw on each level; its length is the number
# of levels. If labels are floats, the colour is their mean. Here that is the squared
# error of each noun's reconstruction, relative to the mean over all nouns. Bright
# prefixes are reconstructed worse than dark ones.

errors = np.square(X - rq.inverse_transform(rq.transform(X))).sum(axis=1)
display = IDTreeDisplay.from_estimator(rq, X, errors / errors.mean(), breadth=(5, 3, 2))

# %%
# Where are the codes?
# --------------------
# The plane is that of the first two principal components. They explain a few per cent
# of the variance of such embeddings, so codes overlap here that are separate in 384
# dimensions. Only ten codes are highlighted, because nobody can distinguish 64 colours.

ItemMapDisplay.from_estimator(rq, X)

# %%
# Other planes are possible, for instance from t-SNE or UMAP. ``highlight`` also accepts
# the codes to show. Here these are the codes in which animals, plants and food are most
# frequent.

plane = TSNE(random_state=0).fit_transform(X[:1500])
codes = rq.transform(X[:1500])
chosen = [
    int(np.bincount(codes[labels[:1500] == kind, 0]).argmax())
    for kind in ("animal", "plant", "food")
]
ItemMapDisplay.from_codes(codes, plane, highlight=chosen)
