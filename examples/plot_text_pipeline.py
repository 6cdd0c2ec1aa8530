"""
From texts to semantic IDs in one Pipeline
==========================================

Semantic IDs need vectors, and vectors can come from anywhere. Where no sentence encoder
is at hand, TF-IDF and a singular value decomposition make vectors of texts within
seconds, and all of it is one scikit-learn Pipeline: texts in, IDs out.

1. Put a vectorizer, ``TruncatedSVD`` and the transformer into a Pipeline.
2. Give IDs to texts, known ones and new ones.
3. Go the way back: which words does a code stand for?
4. Compare with the vectors of a sentence encoder.
"""

# %%
# The Pipeline
# ------------
# The texts are the definitions of 4000 nouns. :class:`~sk_rqvae.RQVAETransformer` takes
# dense rows; ``TruncatedSVD`` makes them from the sparse ones of TF-IDF.

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
    return RQVAETransformer(
        codebook_size=32, n_layers=3, hidden_dims=(256,), max_epochs=8, random_state=0
    )


def vectors():
    return [
        TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2),
        TruncatedSVD(64, random_state=0),
    ]


pipeline = make_pipeline(*vectors(), Normalizer(), small())
codes = pipeline.fit_transform(nouns.text)

# %%
# The ``Normalizer`` brings all texts to one length. Without it, those with many rare
# words lie close together around zero, where codes cannot tell them apart:

as_they_are = make_pipeline(*vectors(), small()).fit_transform(nouns.text)
for name, ids in {"normalised": codes, "as they are": as_they_are}.items():
    print(
        f"{name}: {collision_rate(ids):.1%} of the IDs are taken by an earlier noun, "
        f"at most {worst_bucket_size(ids)} nouns share one"
    )

# %%
# IDs as a table
# --------------
# As every transformer of scikit-learn, it can put out data frames. Texts that the
# Pipeline has never seen get IDs too.

pipeline[-1].set_output(transform="pandas")
new = ["a small boat with a sail", "soup of beans and meat", "a river in Africa"]
pipeline.transform(new)

# %%
# Here are the nouns that share the longest prefix with each of them:

for text, ids in zip(new, pipeline.transform(new).to_numpy(), strict=True):
    shared = (codes == ids).cumprod(axis=1).sum(axis=1)
    nearest = (-shared).argsort(kind="stable")[:5]
    print(f"{text}: {', '.join(words[nearest])} ({shared[nearest[0]]} codes)")

# %%
# What a code stands for
# ----------------------
# ``inverse_transform`` makes the vector of a prefix, and ``TruncatedSVD`` can turn that
# into weights of words. The heaviest are what the code means; words that most codes
# share are taken off by subtracting the mean.

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
# The nouns come with embeddings of a sentence encoder, and with categories that
# lexicographers gave them. How well do prefixes agree with those, by adjusted mutual
# information, for IDs of either kind of vector?

from_encoder = small().fit_transform(nouns.data)
for name, ids in (("TF-IDF and SVD", codes), ("sentence encoder", from_encoder)):
    agreement = prefix_label_agreement(ids, nouns.target)
    print(f"{name}: {agreement.round(3)} for one, two and three codes")

# %%
# Definitions are short, and two that mean the same need not share a word. IDs are only
# as good as the vectors they are made from: for texts as short as these, an encoder is
# worth its time.
