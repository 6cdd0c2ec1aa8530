"""
From texts to semantic IDs in one Pipeline
==========================================

Semantic IDs are computed from vectors, and any vectors will do. Without a sentence
encoder, TF-IDF and a singular value decomposition make vectors from texts within
seconds. All steps form one scikit-learn Pipeline: texts in, IDs out.

1. Put a vectorizer, ``TruncatedSVD`` and the transformer into a Pipeline.
2. Compute IDs for known and for new texts.
3. Decode a code to the words that it stands for.
4. Compare with IDs from a sentence encoder.
"""

# %%
# The Pipeline
# ------------
# The texts are the definitions of 4000 nouns. :class:`~sk_rqvae.RQVAETransformer` needs
# dense rows, which ``TruncatedSVD`` makes from the sparse rows of TF-IDF.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from sk_rqvae import RQVAETransformer
from sk_rqvae.datasets import load_wordnet_nouns
from sk_rqvae.metrics import (
    collision_rate,
    prefix_label_agreement,
    worst_bucket_size,
)

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])


def small():
    return RQVAETransformer(codebook_size=32, n_layers=3, max_epochs=8, random_state=0)


def vectors():
    return [
        TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2),
        TruncatedSVD(64, random_state=0),
    ]


pipeline = make_pipeline(*vectors(), Normalizer(), small())
codes = pipeline.fit_transform(nouns.text)

# %%
# The ``Normalizer`` scales all vectors to unit length. Without it, vectors of texts
# with many rare words are close to zero and to each other, and codes cannot tell them
# apart:

as_they_are = make_pipeline(*vectors(), small()).fit_transform(nouns.text)
for name, ids in {"normalised": codes, "as they are": as_they_are}.items():
    print(
        f"{name}: {collision_rate(ids):.1%} of the IDs are taken by an earlier noun, "
        f"at most {worst_bucket_size(ids)} nouns share one"
    )

# %%
# IDs as a table
# --------------
# Like every scikit-learn transformer, it can return data frames. Texts that the
# Pipeline has not seen get IDs too.

pipeline[-1].set_output(transform="pandas")
new = ["a small boat with a sail", "soup of beans and meat", "a river in Africa"]
pipeline.transform(new)

# %%
# Here are the nouns that share the longest prefix with each new text:

for text, ids in zip(new, pipeline.transform(new).to_numpy(), strict=True):
    shared = (codes == ids).cumprod(axis=1).sum(axis=1)
    nearest = (-shared).argsort(kind="stable")[:5]
    print(f"{text}: {', '.join(words[nearest])} ({shared[nearest[0]]} codes)")

# %%
# What a code stands for
# ----------------------
# ``inverse_transform`` gives the vector of a prefix, and ``TruncatedSVD`` turns it into
# weights of words. The words with the largest weights describe the code. Subtracting
# the mean removes words that most codes share.

vectorizer, svd, _, rq = pipeline
vocabulary = vectorizer.get_feature_names_out()
weights = svd.inverse_transform(rq.inverse_transform(np.arange(32)[:, None]))
weights -= weights.mean(axis=0)
for code in range(6):
    heaviest = weights[code].argsort()[::-1][:6]
    print(f"first code {code}: {', '.join(vocabulary[heaviest])}")

# %%
# Words or meaning?
# -----------------
# The nouns also have embeddings of a sentence encoder, and categories that
# lexicographers assigned. How well do prefixes agree with the categories, measured by
# adjusted mutual information, for IDs from either kind of vector? Full IDs are left
# out: where all are different, the agreement is 0 by definition.

from_encoder = small().fit_transform(nouns.data)
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
depths = np.arange(1, 3)
both = {"sentence encoder": from_encoder, "TF-IDF and SVD": codes}
for offset, (name, ids) in zip((-0.2, 0.2), both.items(), strict=True):
    agreement = prefix_label_agreement(ids, nouns.target)[:2]
    bars = axes.bar(depths + offset, agreement, width=0.38, label=name)
    axes.bar_label(bars, fmt="%.2f", padding=2)
axes.set(xlabel="codes of the ID", ylabel="agreement with categories", xticks=depths)
axes.margins(y=0.15)
axes.legend()

# %%
# Definitions are short, and two with the same meaning need not share a word. IDs are
# only as good as the vectors from which they are computed. For texts as short as these,
# an encoder is worth its time.
