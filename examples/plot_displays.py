"""
Looking at a model
==================

Four pictures that say whether a model and its IDs are in order, drawn by the displays
of ``sk_rqvae.plotting``. They need matplotlib: ``pip install "sk-rqvae[plot]"``.

1. Did training go well? The losses, and the reconstruction of rows held out.
2. Are the codebooks used? The share of the items that each code has.
3. What do the codes mean? The tree of IDs, with words.
4. Where do the codes lie? The items on a plane, by their first code.

Each takes a fitted transformer, alone or in a Pipeline, returns what it has drawn, and
draws on axes of yours where you pass ``ax``.
"""

# %%
# A model to look at
# ------------------
# 4000 English nouns get IDs of three codes out of 64. WordNet sorts its nouns into 26
# files, such as *noun.animal*, which the model never sees: they serve as labels.
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
    hidden_dims=(256,),
    max_epochs=30,
    early_stopping=True,
    random_state=0,
).fit(X)
rq.report(X)

# %%
# Did training go well?
# ---------------------
# The loss is a sum, and its parts go different ways. What should fall is the
# reconstruction; the codebook and commitment losses are distances in the latent space,
# and grow where the encoder spreads the latents further apart. So a loss that rises as
# a whole is no bad sign by itself.
#
# The dashed line is the reconstruction of rows held out. Where it rises while that of
# the training rows falls, the model overfits. The weights that are kept are those of
# the epoch with the dot.

TrainingHistoryDisplay.from_estimator(rq)

# %%
# Are the codebooks used?
# -----------------------
# Codes are sorted, the commonest first. The closer a curve is to the dashed line, the
# more evenly the level's codes are used, and the more an ID can say.

CodebookUsageDisplay.from_estimator(rq, X)

# %%
# A collapsed codebook looks different. Here is one made by hand: half of the codes are
# never used, and a few have most of the items. Codes without items are crosses.

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
# IDs are a tree: the first code is a coarse group, the second a finer one inside it. A
# column is a level, and the continuations of a prefix stand to its right. Only the
# prefixes with the most items are drawn, with the number of their items in parentheses;
# the grey rectangles stand for the others. The colour is that of the commonest label,
# and the text says what share of the items has it.

display = IDTreeDisplay.from_estimator(rq, X, labels, names=words)

# %%
# A first code rarely is one kind of noun and nothing else, as the kinds are WordNet's
# and not the model's. One level down, many prefixes are.
#
# ``breadth`` says how many prefixes to draw at each level, so it also goes deeper.
# Labels that are floats colour by their mean: here the squared error of each noun's
# reconstruction, in units of the mean over all nouns. Bright prefixes are worse than
# dark ones.

errors = np.square(X - rq.inverse_transform(rq.transform(X))).sum(axis=1)
display = IDTreeDisplay.from_estimator(rq, X, errors / errors.mean(), breadth=(5, 3, 2))

# %%
# Where do the codes lie?
# -----------------------
# The plane is that of the first two principal components. They hold a few per cent of
# the variance of such embeddings, so codes overlap here that are apart in all 384
# dimensions. Ten codes are highlighted, as no palette has 64 colours that can be told
# apart.

ItemMapDisplay.from_estimator(rq, X)

# %%
# Any other plane will do, from t-SNE or UMAP for instance. ``highlight`` also takes the
# codes to show: here those in which animals, plants and food are commonest.

plane = TSNE(random_state=0).fit_transform(X[:1500])
codes = rq.transform(X[:1500])
chosen = [
    int(np.bincount(codes[labels[:1500] == kind, 0]).argmax())
    for kind in ("animal", "plant", "food")
]
ItemMapDisplay.from_codes(codes, plane, highlight=chosen)
