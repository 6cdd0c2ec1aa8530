"""
Training with a loss of your own
================================

The loss is one method, :meth:`~sk_rqvae.RQVAEModule.compute_loss`, which returns named
parts. A subclass can change a part or add one; training minimises the sum, and the
history has every part under its name.

1. Subclass the module: reward latents that keep the angles between items.
2. Pass the class to the transformer.
3. Compare with the built-in loss.
"""

# %%
# A part more
# -----------
# In retrieval it is angles that count. The added part compares the cosines among the
# rows of a batch with those among their reconstructions.

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
# Explained variance, and how many of an item's ten nearest neighbours are still among
# its ten nearest after reconstruction.

for name, model in {"built-in loss": plain, "with angles": angular}.items():
    decoded = model.inverse_transform(model.transform(X))
    recall = decoded_neighbor_recall(X, decoded, k=10, random_state=0)
    print(f"{name}: {explained_variance(X, decoded):.3f} and {recall:.3f}")
