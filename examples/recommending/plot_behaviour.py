"""
IDs that follow what users did
==============================

Two items can have similar texts and never be chosen by the same people, or different
texts and always be chosen together. An affinity matrix says which items belong
together. ``fit`` lets IDs follow it. ``transform`` needs the embeddings alone, so an
item that nobody has chosen yet gets an ID among similar items.

1. Turn histories into an affinity matrix.
2. Train with and without it.
3. See how many pairs that belong together share a prefix.
4. See how the neighbours of nouns change, those that nobody has read included.
"""

# %%
# Histories
# ---------
# The package ships no users, so these are made up. Lexicographers have sorted the nouns
# into 26 categories, such as *noun.food*, which the embeddings know only in part. Each
# of 4000 readers likes one category and reads ten of its nouns. Nobody has read the
# last 400 nouns.

import matplotlib.pyplot as plt
import numpy as np

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.interactions import cooccurrence
from sk_rqvae.metrics import affinity_lift, prefix_label_agreement

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
X, X_unread = nouns.data[:3600], nouns.data[3600:]

rng = np.random.default_rng(0)
members = [np.flatnonzero(nouns.target[:3600] == kind) for kind in range(26)]
histories = []
for _ in range(4000):
    liked = members[nouns.target[rng.integers(3600)]]
    histories.append(rng.choice(liked, min(10, len(liked)), replace=False))

# %%
# :func:`~sk_rqvae.interactions.cooccurrence` counts how often two items are in one
# history, and weights the counts by how far they are above chance.

A = cooccurrence(histories, n_items=len(X))
print(f"{A.nnz / len(X):.0f} nouns belong to a noun on average")

# %%
# With and without
# ----------------


def new_model():
    return RQVAETransformer(codebook_size=64, n_layers=3, max_epochs=8, random_state=0)


models = {
    "text alone": new_model().fit(X),
    "text and behaviour": new_model().fit(X, affinity=A),
}
codes = {name: model.transform(X) for name, model in models.items()}
codes_unread = {name: model.transform(X_unread) for name, model in models.items()}

# %%
# What changes
# ------------
# Left: how much more often than by chance two nouns of a history share a prefix. Right:
# how well the prefixes of nouns that nobody has read agree with their categories
# (adjusted mutual information). Full IDs are left out: no two nouns share one.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
depths = np.array([1, 2])
for offset, name in zip((-0.2, 0.2), models, strict=True):
    lift = affinity_lift(codes[name], A)[:2]
    agreement = prefix_label_agreement(codes_unread[name], nouns.target[3600:])[:2]
    for axes, heights, form in ((left, lift, "%.0f"), (right, agreement, "%.2f")):
        bars = axes.bar(depths + offset, heights, width=0.38, label=name)
        axes.bar_label(bars, fmt=form, padding=2)
        axes.set(xlabel="codes of the ID", xticks=depths)
        axes.margins(y=0.15)
left.set(ylabel="times as often as by chance")
right.set(ylabel="agreement, unread nouns")
left.legend()

# %%
# Reconstruction pays for it, because codes now describe two things. A report shows what
# is lost and what is gained, level by level:

for name, model in models.items():
    print(f"{name}\n{model.report(X, A)}\n")

# %%
# The neighbours
# --------------
# Nouns that share the first code with some nouns that nobody has read:

for row in (0, 4, 9, 12):
    kind = nouns.target_names[nouns.target[3600 + row]].removeprefix("noun.")
    print(f"{words[3600 + row]} ({kind})")
    for name in models:
        similar = np.flatnonzero(codes[name][:, 0] == codes_unread[name][row, 0])
        same = (nouns.target[similar] == nouns.target[3600 + row]).mean()
        print(f"    {name}, {same:.0%} {kind}: {', '.join(words[similar[:5]])}")

# %%
# There is another way: put text and vectors of behaviour side by side with
# :class:`~sk_rqvae.BlockScaler`, which predicts the behaviour of new items.
