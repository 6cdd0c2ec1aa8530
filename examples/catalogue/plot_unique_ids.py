"""
Unique IDs for a catalogue
==========================

A model gives similar items similar codes, and sometimes the same codes. A catalogue
needs one ID per item and one item per ID. :class:`~sk_rqvae.SemanticIDIndex` turns
codes into such IDs. Its *policy* decides what happens to an item whose codes are taken:

- ``"none"``: the items share an ID;
- ``"suffix"``: an additional last code numbers the items;
- ``"reassign"``: the later item gets another ID that is free, and suits it best.

1. Train a model on most of a catalogue, with few codes, and count the collisions.
2. Apply each policy and see what it costs.
3. Look up items by ID and by prefix, and IDs by item.
4. Write the IDs as tokens, as JSON and as a table, and read them back.
"""

# %%
# A crowded catalogue
# -------------------
# The items are 4000 nouns and ten of them again. The model is trained on 3000 nouns.
# After training, :class:`~sk_rqvae.RQVAETransformer` separates the IDs of the rows that
# it was trained on. It cannot separate rows that it has not seen, nor equal rows.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
words = [text.split(":")[0].split(",")[0] for text in nouns.text]
X = np.concatenate([nouns.data, nouns.data[:10]])
items = [*nouns.synset, *(f"{synset}-again" for synset in nouns.synset[:10])]
word_of = dict(zip(items, words + words[:10], strict=True))

rq = RQVAETransformer(codebook_size=24, n_layers=3, max_epochs=10, random_state=0)
rq.fit(X[:3000])
codes = rq.transform(X)
print(f"{len(X)} items, {24**3} possible IDs")

# %%
# Three policies
# --------------
# ``"reassign"`` needs ``model`` and ``X`` to find the best free ID. The other
# policies accept them too; they then count duplicates and remember the model.

indexes = {
    policy: SemanticIDIndex(policy=policy).fit(codes, items, X=X, model=rq)
    for policy in ("none", "suffix", "reassign")
}
pd.DataFrame({policy: index.summary() for policy, index in indexes.items()})

# %%
# The rows from ``n_unique`` to ``exact_duplicates`` describe the codes and are the same
# for all policies. The other rows are the cost of a policy:
#
# - ``suffix_codes``: the suffix leaves the codes as they are. It adds one code to every
#   ID, which is one more step for a model that generates IDs, and this code carries no
#   information about the item.
# - ``n_moved`` and ``moved_at_level``: reassigned IDs are no longer than the codes, but
#   some items no longer have the codes that the model gave them. ``moved_at_level``
#   counts the level from which on they differ: at the last one an ID changes the least.
# - ``added_error``: how much the moves increase the mean squared error of the
#   reconstruction. To judge it, compare it with the error itself:

error = np.mean((X - rq.inverse_transform(codes)) ** 2)
added = indexes["reassign"].summary()["added_error"]
print(f"mean squared error {error:.2e}, moved items add {added / error:.2%} of it")

# %%
# Where do the policies change an ID? Most items keep their codes with each of them.

moved = indexes["reassign"].summary()["moved_at_level"]
numbered = int((indexes["suffix"].ids_[:, 3] > 0).sum())
changes = {f"reassign, at level {level + 1}": n for level, n in enumerate(moved)}
changes["suffix above 0"] = numbered

figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
bars = axes.barh(list(changes), list(changes.values()))
axes.bar_label(bars, padding=3)
axes.set(xlabel=f"items of {len(X)}")
axes.margins(x=0.1)
axes.invert_yaxis()

# %%
# The largest group of items with the same codes, and the IDs that these items get:

groups, group_of, sizes = np.unique(
    codes, axis=0, return_inverse=True, return_counts=True
)
crowd = [items[row] for row in np.flatnonzero(group_of == sizes.argmax())]
pd.DataFrame(
    {
        policy: [tuple(row) for row in index.ids_of(crowd).tolist()]
        for policy, index in indexes.items()
    },
    index=[word_of[item] for item in crowd],
)

# %%
# The first item keeps the codes. Only the order of arrival decides, so put the items
# first whose IDs should be the best, for instance the popular ones. If all codes of the
# last level are taken, an item changes its code one level higher.

# %%
# Looking up
# ----------
# The index finds items by ID and IDs by item. With ``"none"``, an ID has a list of
# items.

unique = indexes["reassign"]
ids = unique.ids_of(items[:3])
print(ids.tolist(), "->", [word_of[item] for item in unique.lookup(ids)])

shared = indexes["none"].lookup(groups[[sizes.argmax()]])
print([[word_of[item] for item in group] for group in shared])

# %%
# An ID that no item has raises an error, or returns the default that you pass.

free = next(
    codes
    for codes in np.ndindex(24, 24, 24)
    if len(unique.items_with_prefix(codes)) == 0
)
print(unique.lookup([ids[1], free], default=None))
try:
    unique.lookup([free])
except KeyError as refusal:
    print(refusal.args[0])

# %%
# A prefix finds similar items: the longer the prefix, the more similar they are.

for depth in (1, 2):
    similar = unique.items_with_prefix(ids[1, :depth])
    print(f"{len(similar)} like {words[1]!r}:", [word_of[item] for item in similar[:6]])

# %%
# Tokens
# ------
# For a language model, an ID is a short text with one token per code. Each level has
# its own letter, so the same number is a different token on each level.

texts = unique.tokens(ids)
print(texts)
print((unique.parse_tokens(texts) == ids).all(), len(unique.vocabulary()), "tokens")

# %%
# Exchange
# --------
# Recommenders that train on semantic IDs read them from JSON. Spreadsheets and data
# frames read tables, CSV or Parquet. The index keeps the IDs that it reads unchanged.

with tempfile.TemporaryDirectory() as folder:
    json_path, csv_path = Path(folder, "ids.json"), Path(folder, "ids.csv")
    unique.to_json(json_path)
    unique.to_table(csv_path)
    print(*json_path.read_text().splitlines()[:3], sep="\n")
    print(*csv_path.read_text().splitlines()[:3], sep="\n")
    from_json = SemanticIDIndex.from_json(json_path, policy="reassign")
    from_csv = SemanticIDIndex.from_table(csv_path, policy="reassign")

for copy in (from_json, from_csv):
    print((copy.ids_ == unique.ids_).all(), (copy.item_ids_ == unique.item_ids_).all())
