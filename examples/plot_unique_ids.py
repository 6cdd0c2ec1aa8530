"""
Unique IDs for a catalogue
==========================

A model gives like items like codes, and sometimes the same codes. A catalogue wants one
ID an item and one item an ID. :class:`~sk_rqvae.SemanticIDIndex` makes IDs of codes.
What happens to an item whose codes are taken is up to you, the *policy*:

- ``"none"``: they share an ID;
- ``"suffix"``: a last code counts them;
- ``"reassign"``: the later one takes the nearest ID that is free.

1. Train a model on most of a catalogue, with few codes, and count the collisions.
2. Apply each policy and read what it costs.
3. Look items up by ID, by prefix, and IDs by item.
4. Write the IDs as tokens, as JSON and as a table, and read them back.
"""

# %%
# A crowded catalogue
# -------------------
# The items are 4000 nouns, of which the model sees 3000 in training, and ten that are
# listed twice. After training, :class:`~sk_rqvae.RQVAETransformer` separates the IDs of
# the rows that it was trained on. It cannot do so for rows it has not seen, nor for
# equal ones.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
words = [text.split(":")[0].split(",")[0] for text in nouns.text]
X = np.concatenate([nouns.data, nouns.data[:10]])
items = [*nouns.synset, *(f"{synset}-again" for synset in nouns.synset[:10])]
word_of = dict(zip(items, words + words[:10], strict=True))

rq = RQVAETransformer(
    codebook_size=24, n_layers=3, hidden_dims=(256,), max_epochs=10, random_state=0
).fit(X[:3000])
codes = rq.transform(X)
print(f"{len(X)} items, {24**3} possible IDs")

# %%
# Three policies
# --------------
# ``model`` and ``X`` are what ``"reassign"`` needs to know which free ID is near; the
# others take them too, and then count duplicates and remember the model.

indexes = {
    policy: SemanticIDIndex(policy=policy).fit(codes, items, X=X, model=rq)
    for policy in ("none", "suffix", "reassign")
}
pd.DataFrame({policy: index.summary() for policy, index in indexes.items()})

# %%
# The rows from ``n_unique`` to ``exact_duplicates`` describe the codes and are the same
# for all three. The rest is what a policy costs:
#
# - ``suffix_codes``: the suffix keeps the codes as they are. It costs one more code an
#   ID, thus one more step for whatever generates IDs, and that code says nothing about
#   what the item is like.
# - ``n_moved`` and ``moved_at_level``: reassigned IDs are no longer than the codes, but
#   some items no longer have the codes nearest to them. Most of them leave only at the
#   last level, which says least.
# - ``added_error``: what the moves add to the mean squared error of the reconstruction.
#   To see whether that is much, compare it with the error itself:

error = np.mean((X - rq.inverse_transform(codes)) ** 2)
added = indexes["reassign"].summary()["added_error"]
print(f"mean squared error {error:.2e}, moved items add {added / error:.2%} of it")

# %%
# The largest group of items with the same codes, and the IDs that they get:

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
# The first to come keeps the codes. Order of arrival is all that decides, so put the
# items first whose IDs should be the best, for instance the popular ones. An item
# that finds all codes of the last level taken leaves one level higher.

# %%
# Looking up
# ----------
# IDs and items translate into each other. With ``"none"`` an ID has a list of items.

unique = indexes["reassign"]
ids = unique.ids_of(items[:3])
print(ids.tolist(), "->", [word_of[item] for item in unique.lookup(ids)])

shared = indexes["none"].lookup(groups[[sizes.argmax()]])
print([[word_of[item] for item in group] for group in shared])

# %%
# An ID that nothing has is an error, or a value that you name.

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
# Prefixes find items that are alike; the longer, the more so.

for depth in (1, 2):
    alike = unique.items_with_prefix(ids[1, :depth])
    print(f"{len(alike)} like {words[1]!r}:", [word_of[item] for item in alike[:6]])

# %%
# Tokens
# ------
# For a language model an ID is a short text: a token a code, a letter a level, so that
# the same number means different tokens at different levels.

texts = unique.tokens(ids)
print(texts)
print((unique.parse_tokens(texts) == ids).all(), len(unique.vocabulary()), "tokens")

# %%
# Exchange
# --------
# Recommenders that train on semantic IDs read them from JSON; spreadsheets and data
# frames want a table, CSV or Parquet. IDs that are read are kept as they are.

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
