"""
New items without moving old ones
=================================

A recommender learns the IDs of a catalogue like the words of a language. If IDs change
when the catalogue grows, the recommender has to be trained again. So the model that
computes the codes stays fixed, and :class:`~sk_rqvae.SemanticIDIndex` adds new items
without changing existing IDs.

1. See what happens to IDs if the model is retrained instead.
2. Add new items and check that no old ID changed.
3. See what old items reveal about a new one.
4. Try two mistakes: codes of another model, and an item added twice. Both are refused.
5. Save the model and the index, load them again, and continue.
"""

# %%
# Why not retrain
# ---------------
# The catalogue first has 3600 nouns; 400 more are added later. One model is trained on
# the first 3600, another on all nouns, with the same settings and the same seed.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
X_old, X_new = nouns.data[:3600], nouns.data[3600:]


def new_model():
    return RQVAETransformer(codebook_size=64, n_layers=3, max_epochs=10, random_state=0)


rq = new_model().fit(X_old)
retrained = new_model().fit(nouns.data)
moved = (rq.transform(X_old) != retrained.transform(X_old)).any(axis=1).mean()
print(f"Retrained with a tenth more items, {moved:.1%} of the old codes are different")

# %%
# There are two reasons: codes are numbered differently, and items are grouped
# differently. The adjusted Rand index ignores the numbers, and is 1 for equal groups:

rand = adjusted_rand_score(rq.transform(X_old)[:, 0], retrained.transform(X_old)[:, 0])
print(f"Groups by first code: {rand:.2f}")

# %%
# Adding
# ------
# Without ``item_ids``, items are numbered by row; every ``add`` continues the
# numbering. The policy ``"suffix"`` makes IDs unique by a last code that numbers items
# with equal codes.

index = SemanticIDIndex(policy="suffix").fit(rq.transform(X_old), X=X_old, model=rq)
before = index.ids_.copy()

ids_new = index.add(rq.transform(X_new), X=X_new, model=rq)
print(f"{len(before)} items, now {len(index.ids_)}")
print("old IDs unchanged:", (index.ids_[:3600] == before).all())

# %%
# It makes no difference whether new items are added one by one, in batches or all at
# once: an item's ID depends only on its codes and on the items before it.

in_batches = SemanticIDIndex(policy="suffix").fit(
    rq.transform(X_old), X=X_old, model=rq
)
for start in range(0, 400, 150):
    batch = X_new[start : start + 150]
    in_batches.add(rq.transform(batch), X=batch, model=rq)
print("same IDs:", (in_batches.ids_ == index.ids_).all())

# %%
# A cold start
# ------------
# Nobody has clicked on a new item yet, but people have clicked on old items with the
# same codes. The new nouns share their first code with similar old ones:

for row in (0, 1, 4):
    neighbours = index.items_with_prefix(ids_new[row, :1])
    old = words[neighbours[neighbours < 3600]]
    print(f"{words[3600 + row]}: {', '.join(old[:6])}")

# %%
# How well can old items predict a property of a new one? Take the category as that
# property. The prediction is the most frequent category among the old items that share
# the longest prefix with the new one.


def guess(codes):
    for depth in (3, 2, 1, 0):
        similar = index.items_with_prefix(codes[:depth])
        similar = similar[similar < 3600]
        if len(similar):
            return np.bincount(nouns.target[similar]).argmax(), depth


guesses, depths = np.transpose([guess(codes) for codes in rq.transform(X_new)])
right = guesses == nouns.target[3600:]
always = np.bincount(nouns.target[:3600]).argmax()
shares = {"most frequent category": (nouns.target[3600:] == always).mean()}
for depth in np.unique(depths):
    which = depths == depth
    name = f"{depth} codes shared, {which.sum()} nouns"
    shares[name] = right[which].mean()
shares["all new nouns"] = right.mean()

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
bars = axes.barh(list(shares), list(shares.values()))
axes.bar_label(bars, fmt="{:.0%}", padding=3)
axes.set(xlabel="category guessed right", xlim=(0, 1))
axes.invert_yaxis()

# %%
# What to watch
# -------------
# A model separates the IDs of the rows that it was trained on. New items can share
# codes with old ones and with each other. If the catalogue drifts away from the
# training rows, more and more items share codes; ``summary`` shows how many. When there
# are too many, or the suffix exceeds the recommender's tokens, retrain both the model
# and the recommender.

first = SemanticIDIndex(policy="suffix").fit(rq.transform(X_old))
for name, which in (("before", first), ("after", index)):
    summary = which.summary()
    share, codes = summary["colliding_share"], summary["suffix_codes"]
    print(f"{name}: {share:.1%} of the items share their codes, {codes} suffixes")

# %%
# The wrong model
# ---------------
# Codes of another model are integers in the same range, so they look valid. The index
# stores a fingerprint of its model and compares it. A refused call leaves the index
# unchanged.

try:
    index.add(retrained.transform(X_new[:5]), model=retrained)
except ValueError as error:
    print(error)

named = SemanticIDIndex().fit(rq.transform(X_old[:3]), ["ant", "bee", "cat"], model=rq)
try:
    named.add(rq.transform(X_new[:2]), ["dog", "bee"], model=rq)
except ValueError as error:
    print(error)
print(named.item_ids_)

# %%
# Save and load
# -------------
# The model is saved as a folder, the index as a file. Neither contains a pickle. Each
# is replaced in one step, so a crash during saving leaves the old version. A reloaded
# model has the same fingerprint as the saved one.

with tempfile.TemporaryDirectory() as folder:
    rq.save_pretrained(Path(folder, "model"))
    named.save(Path(folder, "nouns.index"))

    rq_loaded = RQVAETransformer.from_pretrained(Path(folder, "model"))
    loaded = SemanticIDIndex.load(Path(folder, "nouns.index"))

print(loaded.fingerprint_ == named.fingerprint_)
loaded.add(rq_loaded.transform(X_new[:1]), ["dog"], model=rq_loaded)
for item, code in zip(loaded.item_ids_, loaded.ids_, strict=True):
    print(item, code)
