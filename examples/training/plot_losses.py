"""
Reading the losses
==================

The loss of a residual-quantised autoencoder is a sum of terms that develop differently.
The sum can rise in a healthy training. If you watch only the sum, you may stop too
early or lower a learning rate that was right.

1. Train with some rows held out.
2. Plot each term of the loss.
3. See why the codebook loss rises, and what to watch instead.
"""

# %%
# Training
# --------
# ``early_stopping`` holds out a tenth of the rows. In every epoch it encodes them as
# ``transform`` does and records their reconstruction loss.

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

X = load_wordnet_nouns().data
settings = {
    "codebook_size": 64,
    "embed_dim": 32,
    "random_state": 0,
}
rq = RQVAETransformer(max_epochs=15, early_stopping=True, **settings).fit(X)
history = rq.net_.history
epochs = np.arange(1, len(history) + 1)

# %%
# The terms
# ---------
# ``train_loss`` is the sum of the terms. The left plot shows the reconstruction loss of
# training rows and of held-out rows. For training rows, the encoder's input has noise
# and codes are found greedily. For held-out rows there is no noise, and codes are those
# that ``transform`` finds. So the loss of training rows can be higher. The right plot
# shows the terms that tie encoder and codebooks together.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(epochs, history[:, "train_reconstruction"], label="train_reconstruction")
left.plot(epochs, history[:, "valid_loss"], label="valid_loss")
right.plot(epochs, history[:, "train_loss"], color="grey", label="train_loss, the sum")
right.plot(epochs, history[:, "train_codebook"], label="train_codebook")
right.plot(epochs, history[:, "train_commitment"], label="train_commitment")
left.set(xlabel="epoch", ylabel="share of variance not explained")
right.set(xlabel="epoch", ylabel="loss")
for axes in (left, right):
    axes.legend()

# %%
# Why the codebook loss rises
# ---------------------------
# It is the squared distance between latents and the sums of their codes. The codebooks
# are initialised by k-means, which minimises this distance, so it can only rise. Then
# the encoder learns to exaggerate. The decoder sees codes and not latents, so nothing
# is lost if a latent moves beyond its code in the same direction. Compare the latents
# after one epoch and after all epochs:


def latents_and_codes(model):
    module = model.net_.module_
    with torch.no_grad():
        latents = module.encode(module.standardize(torch.from_numpy(X).double()))
        codes = module.quantizer.sum_of(torch.from_numpy(model.transform(X)))
    return latents, codes


early = RQVAETransformer(max_epochs=1, **settings).fit(X)
for name, model in {"one epoch": early, "all epochs": rq}.items():
    latents, codes = latents_and_codes(model)
    length = latents.square().sum(1).mean()
    gap = (latents - codes).square().sum(1).mean()
    cosine = torch.cosine_similarity(latents, codes).mean()
    print(f"{name}: squared length {length:.0f}, gap {gap:.0f}, cosine {cosine:.2f}")

# %%
# The latents are much longer, and the gap has grown with them. Relative to the latents,
# the codes point in the same direction as before.

# %%
# What to watch
# -------------
# Watch ``valid_loss``, or the score of rows that you hold out. The terms help to
# diagnose problems:
#
# - The reconstruction loss of fitted rows falls and that of other rows rises: the model
#   overfits. Raise ``noise``, train for fewer epochs, or use more rows.
# - The reconstruction loss keeps rising along with the codebook loss: ``lr`` is too
#   high.
# - Perplexity falls over the epochs: fewer and fewer codes are used.

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.plot(epochs, history[:, "perplexity"], label=["level 1", "level 2", "level 3"])
axes.set(xlabel="epoch", ylabel="perplexity, of 64", ylim=(0, 66))
axes.legend()
