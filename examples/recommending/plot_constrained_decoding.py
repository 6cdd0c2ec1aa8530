"""
Constrained decoding
====================

A generative recommender generates an item's ID code by code. Most combinations of codes
are not the ID of any item, so an unconstrained decoder spends many guesses on items
that do not exist.
:meth:`SemanticIDIndex.allowed_next <sk_rqvae.SemanticIDIndex.allowed_next>` returns the
codes that may follow a prefix.

1. Give a catalogue IDs.
2. Train a small decoder that reads a text and predicts an ID.
3. Search for the best IDs, first without constraint, then among existing IDs only.
4. Do the same with a model of Hugging Face ``transformers``.
"""

# %%
# The catalogue
# -------------
# 4000 nouns with IDs of three codes. All IDs are different: if two nouns have the same
# codes, the policy ``"reassign"`` gives the second one another ID that is free.

import importlib.util

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
rq = RQVAETransformer(codebook_size=64, n_layers=3, max_epochs=10, random_state=0)
codes = rq.fit_transform(nouns.data)
index = SemanticIDIndex(policy="reassign").fit(codes, X=nouns.data, model=rq)
print(f"{len(index.ids_) / 64**3:.1%} of the possible IDs exist")

# %%
# The number of allowed codes falls quickly: every first code is allowed, few second
# codes can follow it, and hardly any third.

counts = [
    [len(index.allowed_next(code[:depth])) for code in index.ids_[:500].tolist()]
    for depth in range(3)
]
figure, axes = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
axes.boxplot(counts, orientation="horizontal", whis=(0, 100), widths=0.5)
axes.set(
    xscale="log",
    xlabel="codes that may come next, of 64",
    yticks=(1, 2, 3),
    yticklabels=("first code", "second code", "third code"),
    xticks=(1, 2, 4, 8, 16, 32, 64),
    xticklabels=(1, 2, 4, 8, 16, 32, 64),
)
axes.minorticks_off()
axes.invert_yaxis()

# %%
# A decoder
# ---------
# One naive Bayes classifier per level. Each reads the words of a definition and the
# tokens of the codes so far, and gives every code a probability. A tenth of the nouns
# are held out; 200 of these are the queries.

tokens = np.array(index.vocabulary()).reshape(3, 64)


def with_tokens(text, prefix):
    return " ".join([text, *(tokens[level, code] for level, code in enumerate(prefix))])


vectorizer = CountVectorizer(token_pattern=r"<\w+>|\w+", binary=True)
vectorizer.fit([*nouns.text[:3600], *tokens.ravel()])
levels = []
for level in range(3):
    texts = [
        with_tokens(text, codes[:level])
        for text, codes in zip(nouns.text[:3600], index.ids_, strict=False)
    ]
    levels.append(
        MultinomialNB(alpha=0.1).partial_fit(
            vectorizer.transform(texts), index.ids_[:3600, level], classes=range(64)
        )
    )

# %%
# Beam search
# -----------
# At each level, every prefix is extended by the codes that ``allowed`` returns, and the
# best extensions are kept. Unconstrained ("free") and constrained ("held") search
# differ only in that argument.


def beam_search(text, allowed, n_beams=10):
    beams = [((), 0.0)]
    for level in levels:
        rows = vectorizer.transform([with_tokens(text, prefix) for prefix, _ in beams])
        scores = level.predict_log_proba(rows)
        longer = [
            ((*prefix, int(code)), total + of_code[code])
            for (prefix, total), of_code in zip(beams, scores, strict=True)
            for code in allowed(prefix)
        ]
        beams = sorted(longer, key=lambda beam: -beam[1])[:n_beams]
    return np.array([prefix for prefix, _ in beams])


def anything(prefix):
    return range(64)


queries = range(3600, 3800)
searches = {"free": anything, "held": index.allowed_next}
guesses = {
    name: [beam_search(nouns.text[query], allowed) for query in queries]
    for name, allowed in searches.items()
}

# %%
# Three measures: how many of the ten guesses exist, how often the best guess is an item
# of the query's category, and how often the noun itself is among the ten.

n_queries = len(queries)
found = {
    name: index.lookup(np.concatenate(tens), default=-1).reshape(n_queries, 10)
    for name, tens in guesses.items()
}
for name, items in found.items():
    exist = (items >= 0).mean()
    best = items[:, 0]
    same_kind = (best >= 0) & (nouns.target[best] == nouns.target[queries])
    itself = (items == np.array(queries)[:, None]).any(axis=1)
    print(
        f"{name}: {exist:.0%} of the guesses exist, the best is of the same kind for "
        f"{same_kind.mean():.0%}, the noun itself is there for {itself.mean():.0%}"
    )

# %%
# The decoder is the same in both. With the constraint it does not waste beams. Here are
# the first five guesses, with a dash for IDs that do not exist:

for row in (0, 1, 2):
    print(f"{words[queries[row]]}")
    for name, items in found.items():
        guessed = [words[item] if item >= 0 else "-" for item in items[row, :5]]
        print(f"    {name}: {', '.join(guessed)}")

# %%
# With ``transformers``
# ---------------------
# ``generate`` accepts a function that returns the tokens that may come next.
# :meth:`~sk_rqvae.SemanticIDIndex.prefix_allowed_tokens_fn` makes such a function. It
# needs the tokenizer's vocabulary, which must contain every token of
# ``index.vocabulary()``. For a real tokenizer, call
# ``tokenizer.add_tokens(index.vocabulary())`` and pass ``tokenizer.get_vocab()``. Here
# a dictionary is enough.

token_to_id = {"<pad>": 0, "<s>": 1, "</s>": 2}
for token in index.vocabulary():
    token_to_id[token] = len(token_to_id)

allowed = index.prefix_allowed_tokens_fn(token_to_id, eos_token_id=2, prompt_length=1)
token_of = {number: token for token, number in token_to_id.items()}
may_follow = allowed(0, np.array([1, token_to_id["<a_0>"]]))
print(*[token_of[number] for number in may_follow])

# %%
# The model below is tiny and has random weights. Its output is noise, but every ID
# exists. ``sk_rqvae`` does not depend on ``transformers``; if it is not installed, this
# cell does nothing.

if importlib.util.find_spec("transformers") is not None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(token_to_id),
        n_positions=8,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    sequences = model.generate(
        torch.tensor([[1]]),
        attention_mask=torch.tensor([[1]]),
        max_new_tokens=4,
        num_beams=5,
        num_return_sequences=5,
        prefix_allowed_tokens_fn=allowed,
    )
    ids = allowed.ids(sequences)
    for text, word in zip(index.tokens(ids), words[index.lookup(ids)], strict=True):
        print(text, word)
