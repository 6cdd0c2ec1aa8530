"""
Training with a loss of your own
================================

The loss is one method, :meth:`~sk_rqvae.RQVAEModule.compute_loss`, which returns named
terms. A subclass can change a term or add one. Training minimises the sum, and the
history records every term under its name.

1. Subclass the module, and add a term that preserves the angles between items.
2. Pass the class to the transformer.
3. Compare with the built-in loss.
"""

# %%
# An additional term
# ------------------
# Retrieval often compares embeddings by their angles. The added term compares the
# cosines between the rows of a batch with those between their reconstructions.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize

from sk_rqvae import RQVAEModule, RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import decoded_neighbor_recall, explained_variance


class AnglePreservingModule(RQVAEModule):
    """Adds the mean squared error of cosines between the rows of a batch."""

    def compute_loss(self, output):
        parts = super().compute_loss(output)
        rows = normalize(output.inputs, dim=1)
        decoded = normalize(output.reconstruction, dim=1)
        parts["angles"] = (rows @ rows.T - decoded @ decoded.T).square().mean()
        return parts


# %%
# Training
# --------

X = load_wordnet_nouns().data
settings = {"max_epochs": 10, "random_state": 0}
plain = RQVAETransformer(**settings).fit(X)
angular = RQVAETransformer(module=AnglePreservingModule, **settings).fit(X)
first, *_, last = angular.net_.history[:, "train_angles"]
print(f"the new term fell from {first:.5f} to {last:.5f}")

# %%
# The effect
# ----------
# Explained variance, and the share of an item's ten nearest neighbours that are still
# among its ten nearest after reconstruction.

models = {"built-in loss": plain, "with angles": angular}
for name, model in models.items():
    decoded = model.inverse_transform(model.transform(X))
    recall = decoded_neighbor_recall(X, decoded, k=10, random_state=0)
    print(f"{name}: {explained_variance(X, decoded):.3f} and {recall:.3f}")

# %%
# Cosines of pairs of nouns, before and after. A point on the line keeps its angle.

some = np.random.default_rng(0).permutation(len(X))[:400]
pairs = np.triu_indices(len(some), k=1)
before = cosine_similarity(X[some])[pairs]
figure, panels = plt.subplots(
    1, 2, figsize=(8, 3.8), layout="constrained", sharex=True, sharey=True
)
for axes, (name, model) in zip(panels, models.items(), strict=True):
    decoded = model.inverse_transform(model.transform(X[some]))
    after = cosine_similarity(decoded)[pairs]
    axes.hexbin(before, after, gridsize=50, bins="log", cmap="viridis")
    axes.axline((0, 0), slope=1, color="C1")
    gap = np.sqrt(np.mean((before - after) ** 2))
    axes.set(title=f"{name}: {gap:.3f} apart", xlabel="cosine of embeddings")
panels[0].set(ylabel="cosine of reconstructions")
