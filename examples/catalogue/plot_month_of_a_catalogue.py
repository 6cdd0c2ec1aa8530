"""
A month of a catalogue
======================

Items come and go every night, and the model is retrained every week. The nightly
changes leave all other IDs alone. Retraining gives codes a new meaning, so IDs change
then. How many of them change is the *churn*: recommenders, features and logs that use
these IDs have to follow.

1. Add and remove items every night.
2. Retrain every week, and rename codes so that most IDs stay.
3. Compare the churn with that of other ways to retrain.
4. Restrict decoding to the items that are in stock.
"""

# %%
# The catalogue
# -------------
# On the first day it has 3000 nouns. Every night 33 new ones arrive and 10 leave.

import copy

import matplotlib.pyplot as plt
import numpy as np

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
X = nouns.data
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
rng = np.random.default_rng(0)


def new_model():
    return RQVAETransformer(
        codebook_size=32, n_layers=3, hidden_dims=(64,), max_epochs=3, random_state=0
    )


def index_of(items, codes, model):
    index = SemanticIDIndex(policy="suffix")
    return index.fit(codes, items, X=X[items], model=model)


model = first_model = new_model().fit(X[:3000])
index = index_of(np.arange(3000), model.transform(X[:3000]), model)

# %%
# Every night
# -----------
# ``remove`` retires an ID: no other item will ever get it. ``add`` gives new items IDs
# from their embeddings alone. After a week, every noun that stayed has its old ID.


def night(index, model, arriving):
    leaving = rng.choice(index.item_ids_, 10, replace=False)
    index.remove(leaving)
    index.add(model.transform(X[arriving]), arriving, X=X[arriving], model=model)


monday = index_of(index.item_ids_, index.ids_[:, :3], model)
for first in range(3000, 3000 + 7 * 33, 33):
    night(index, model, np.arange(first, first + 33))
churn = monday.churn(index)
print(f"{churn['n_added']} nouns came, {churn['n_removed']} left,", end=" ")
print(f"{churn['n_changed'][-1]} of the other {churn['n_common']} IDs changed")

# %%
# Every week
# ----------
# A model that is trained from the beginning numbers its codes anew, so nearly all IDs
# change. Some of the changes are in name only: ``realign`` finds the renaming of each
# level's codes that keeps the most prefixes, and gives the model with its codes
# renamed. ``warm_start=True`` continues from the old model instead.


def from_the_beginning(index, model, items):
    """Codes and model of the next week, and the share that renaming saved, by level."""
    new = new_model().fit(X[items])
    codes, report = index.realign(new.transform(X[items]), items, model=new)
    return codes, report["model"], np.subtract(report["kept"], report["kept_without"])


def warm_start(index, model, items):
    new = model.set_params(warm_start=True).fit(X[items])
    return new.transform(X[items]), new, np.zeros(3)


def month(retrain):
    """What each week's retraining changed, what renaming saved, and the last index."""
    model = copy.deepcopy(first_model)
    index = index_of(np.arange(3000), model.transform(X[:3000]), model)
    changed, saved = [], []
    arriving = np.arange(3000, 3000 + 28 * 33).reshape(4, 7, 33)
    for week in arriving:
        for new_items in week:
            night(index, model, new_items)
        items = np.asarray(index.item_ids_)
        codes, model, share = retrain(index, model, items)
        later = index_of(items, codes, model)
        changed.append(index.churn(later)["changed_share"][:3])
        saved.append(share)
        index = later
    return np.array(changed), np.array(saved), index


realigned, saved, _ = month(from_the_beginning)
warm, _, index = month(warm_start)
churn_of = {
    "from the beginning": realigned + saved,
    "from the beginning, renamed": realigned,
    "warm start": warm,
}

# %%
# The churn
# ---------
# The three panels are the prefixes of one, two and three codes.

figure, panels = plt.subplots(
    1, 3, figsize=(9.5, 3.2), layout="constrained", sharey=True
)
for depth, axes in enumerate(panels):
    for way, changed in churn_of.items():
        axes.plot(range(1, 5), 100 * changed[:, depth], "o-", label=way)
    title = ("first code", "first two codes", "all three codes")[depth]
    axes.set(title=title, xlabel="week", xticks=range(1, 5))
panels[0].set(ylabel="IDs that change, %", ylim=(0, 103))
figure.legend(
    *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
)

# %%
# Renaming saves first codes at no cost. It cannot save what the new model groups
# differently. If the features are the same, continue from the old model.

# %%
# In stock
# --------
# A recommender must not generate an ID of an item that is sold out. A trie has the
# codes that may follow each prefix, for a batch of beams at once. ``restricted_to``
# leaves only the prefixes of some items, and is quick enough to do for every request.

items = np.asarray(index.item_ids_)
in_stock = rng.choice(items, 40, replace=False)
trie = index.trie()
stock = trie.restricted_to(in_stock)

beams = np.full(1, trie.root)
for name, each in {"all": trie, "in stock": stock}.items():
    print(f"{name}: {each.allowed(beams).sum()} of 32 first codes may be generated")

# %%
# A decoder that only takes allowed codes ends at an item in stock, whatever its scores.
# These scores are random:

beams = np.full(5, stock.root)
for _ in range(stock.n_levels):
    scores = rng.random((5, stock.width))
    codes = np.where(stock.allowed(beams), scores, -1).argmax(axis=1)
    beams = stock.step(beams, codes)
found = stock.items(beams)
print(", ".join(words[found]))
print("all in stock:", np.isin(found, in_stock).all())
