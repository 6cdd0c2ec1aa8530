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
settings = {"hidden_dims": (512,), "max_epochs": 10, "random_state": 0}
plain = RQVAETransformer(**settings).fit(X)
angular = RQVAETransformer(module=AnglePreservingModule, **settings).fit(X)
[round(row["train_angles"], 5) for row in angular.net_.history]

# %%
# The effect
# ----------
# Explained variance, and the share of an item's ten nearest neighbours that are still
# among its ten nearest after reconstruction.

for name, model in {"built-in loss": plain, "with angles": angular}.items():
    decoded = model.inverse_transform(model.transform(X))
    recall = decoded_neighbor_recall(X, decoded, k=10, random_state=0)
    print(f"{name}: {explained_variance(X, decoded):.3f} and {recall:.3f}")
