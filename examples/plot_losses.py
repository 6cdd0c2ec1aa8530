"""
Reading the losses
==================

The loss of a residual-quantised autoencoder is a sum of parts that pull in different
directions, and in a healthy training the sum can rise. Who watches the sum alone stops
too early, or turns down a learning rate that was right.

1. Train with a part of the rows held out.
2. Plot each part of the loss.
3. See why the codebook loss rises, and what to watch instead.
"""

# %%
# Training
# --------
# ``early_stopping`` holds a tenth of the rows out and records their reconstruction, as
# ``transform`` encodes them, in every epoch.

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns

X = load_wordnet_nouns().data
settings = {
    "codebook_size": 64,
    "embed_dim": 32,
    "hidden_dims": (256,),
    "random_state": 0,
}
rq = RQVAETransformer(max_epochs=15, early_stopping=True, **settings).fit(X)
history = rq.net_.history
epochs = np.arange(1, len(history) + 1)

# %%
# The parts
# ---------
# ``train_loss`` is the sum of the parts. On the left is what the model is for:
# reconstruction, of the rows trained on (with noise on them and dropout in the network,
# which is why it can lie above the other) and of those held out. On the right is what
# ties encoder and codebooks together.

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
# It is the squared distance of latents to the sum of their codes. The codebooks start
# from k-means, which minimises just that: there is no way but up. Then the encoder
# learns to exaggerate. The decoder sees codes and not latents, so that nothing is lost
# if a latent goes beyond its code in the direction that led there. Compare latents
# after one epoch and after all:


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
# Latents are much longer and the gap with them; codes point where they pointed before,
# relative to latents.

# %%
# What to watch
# -------------
# ``valid_loss``, or the score of rows kept aside. The parts are good for diagnosis:
#
# - reconstruction of fitted rows falls and that of others rises: the model learns rows
#   by heart. Raise ``noise``, train for less long, or find more rows.
# - reconstruction goes on rising with the codebook loss: ``lr`` is too high.
# - perplexity falls over the epochs: codes fall out of use.

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
axes.plot(epochs, history[:, "perplexity"], label=["level 1", "level 2", "level 3"])
axes.set(xlabel="epoch", ylabel="perplexity, of 64", ylim=(0, 66))
axes.legend()
