"""
Categories beside embeddings
============================

Catalogues know more about an item than its text: a brand, a genre, a department. With
``n_cat_features``, such binary columns stand beside the embedding in one matrix. They
are reconstructed as probabilities, and IDs learn them.

1. Put one-hot categories beside embeddings.
2. Train with and without them, and compare how well IDs predict the category.
3. Decode IDs to probabilities of categories.
4. Give the categories more weight.
"""

# %%
# The matrix
# ----------
# The embeddings of 3000 nouns, followed by 26 columns for the categories of WordNet.
# The binary columns must be the last ones.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import explained_variance, prefix_label_agreement

nouns = load_wordnet_nouns()
embeddings, categories = nouns.data[:3000], nouns.target[:3000]
encoder = OneHotEncoder(categories=[range(26)], sparse_output=False)
onehot = encoder.fit_transform(categories[:, None])
X = np.hstack([embeddings, onehot])
n_real, n_cat = embeddings.shape[1], onehot.shape[1]
train, test = train_test_split(np.arange(len(X)), test_size=0.2, random_state=0)
print(X.shape)

# %%
# With and without
# ----------------
# The first model sees embeddings only, the second one also the categories.

settings = {
    "codebook_size": 32,
    "max_epochs": 8,
    "random_state": 0,
}
without = RQVAETransformer(**settings).fit(embeddings[train])
beside = RQVAETransformer(n_cat_features=n_cat, **settings).fit(X[train])

# %%
# How well the first code, the first two and all three codes of unseen nouns agree with
# the category (adjusted mutual information), and how much of the embeddings' variance
# the IDs explain:

results = {
    "without": (without.transform(embeddings[test]), without),
    "beside": (beside.transform(X[test]), beside),
}
agreements = {}
for name, (codes, model) in results.items():
    agreement = prefix_label_agreement(codes, categories[test])
    decoded = model.inverse_transform(codes)[:, :n_real]
    kept = explained_variance(embeddings[test], decoded)
    print(f"{name}: agreement {agreement.round(3)}, embedding kept {kept:.3f}")
    agreements[f"{name} categories"] = agreement

# %%
# An ID has as many bits as before. Bits that encode categories do not encode
# embeddings.

# %%
# Categories from IDs
# -------------------
# The last columns of a reconstruction are probabilities. The largest one is the
# category that the ID predicts. Prefixes predict a category too.

codes = results["beside"][0]
for depth in (1, 2, 3):
    probabilities = beside.inverse_transform(codes[:, :depth])[:, n_real:]
    right = (probabilities.argmax(axis=1) == categories[test]).mean()
    print(f"{depth} codes: the category of {right:.0%} of unseen nouns")

# %%
# The three most probable categories for the first code of one noun:

row = 0
probabilities = beside.inverse_transform(codes[row : row + 1, :1])[0, n_real:]
for category in probabilities.argsort()[::-1][:3]:
    print(f"{nouns.target_names[category]}: {probabilities[category]:.2f}")
print("it is", nouns.text[test[row]].split(":")[0])

# %%
# More weight for categories
# --------------------------
# Embedding columns and binary columns are each divided by one number, so their units
# make no difference. The weight of the categories is the number of their columns. To
# give them more weight, repeat them.

for times in (4, 16):
    repeated = np.hstack([embeddings, np.tile(onehot, times)])
    model = RQVAETransformer(n_cat_features=times * n_cat, **settings)
    codes = model.fit(repeated[train]).transform(repeated[test])
    agreement = prefix_label_agreement(codes, categories[test])
    decoded = model.inverse_transform(codes)[:, :n_real]
    kept = explained_variance(embeddings[test], decoded)
    print(f"{times} times: agreement {agreement.round(3)}, embedding kept {kept:.3f}")
    agreements[f"categories {times} times"] = agreement

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, agreement in agreements.items():
    axes.plot((1, 2), agreement[:2], "o-", label=name)
axes.set(xlabel="codes of the ID", ylabel="agreement with categories")
axes.set(xticks=(1, 2), ylim=(0, 1))
axes.legend()
