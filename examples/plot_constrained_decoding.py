"""
A decoder that can only say IDs that exist
==========================================

A generative recommender says an item's ID code by code. Most combinations of codes are
nobody's ID, so a decoder that is free to say anything spends its guesses on items that
do not exist. :meth:`SemanticIDIndex.allowed_next
<sk_rqvae.SemanticIDIndex.allowed_next>` tells after each code which ones lead on to an
item.

1. Give a catalogue IDs.
2. Train a small decoder that reads a text and says an ID.
3. Search for the best IDs, first free, then held to the IDs that exist.
4. Do the same to a model of Hugging Face ``transformers``.
"""

# %%
# The catalogue
# -------------
# 4000 nouns with IDs of three codes. No two share one: the policy ``"reassign"`` moves
# whoever comes second to the nearest free ID.

import importlib.util

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns

nouns = load_wordnet_nouns()
words = np.array([text.split(":")[0].split(",")[0] for text in nouns.text])
rq = RQVAETransformer(
    codebook_size=64, n_layers=3, hidden_dims=(256,), max_epochs=10, random_state=0
)
codes = rq.fit_transform(nouns.data)
index = SemanticIDIndex(policy="reassign").fit(codes, X=nouns.data, model=rq)
print(f"{len(index.ids_) / 64**3:.1%} of the possible IDs exist")

# %%
# Prefixes thin out quickly: any first code will do, but few second ones go with it, and
# hardly any third.

prefix = index.ids_[0].tolist()
for depth in range(3):
    allowed = index.allowed_next(prefix[:depth])
    print(f"after {tuple(prefix[:depth])}: {len(allowed)} of 64")

# %%
# A decoder
# ---------
# One naive Bayes classifier a level. Each reads the words of a definition and the
# tokens of the codes so far, and gives every code a probability. A tenth of the nouns
# are kept from it; 200 of these are the queries.

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
# At each level every prefix is continued by the codes that ``allowed`` names, and the
# best continuations go on. Free search and held search differ in that one argument.


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
# Three things count: how many of the ten guesses exist, how often the best guess is an
# item of the query's category, and how often the noun itself is among the ten.

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
# The decoder is the same in both; it only no longer wastes its beams. The first five
# guesses, with a dash for those that are nobody's ID:

for row in (0, 1, 2):
    print(f"{words[queries[row]]}")
    for name, items in found.items():
        guessed = [words[item] if item >= 0 else "-" for item in items[row, :5]]
        print(f"    {name}: {', '.join(guessed)}")

# %%
# With ``transformers``
# ---------------------
# ``generate`` asks a function which tokens may come next, and
# :meth:`~sk_rqvae.SemanticIDIndex.prefix_allowed_tokens_fn` makes one. It needs the
# tokenizer's vocabulary, in which every token of ``index.vocabulary()`` must have a
# number; for a real tokenizer that is ``tokenizer.add_tokens(index.vocabulary())`` and
# ``tokenizer.get_vocab()``. Here a dictionary will do.

token_to_id = {"<pad>": 0, "<s>": 1, "</s>": 2}
for token in index.vocabulary():
    token_to_id[token] = len(token_to_id)

allowed = index.prefix_allowed_tokens_fn(token_to_id, eos_token_id=2, prompt_length=1)
token_of = {number: token for token, number in token_to_id.items()}
may_follow = allowed(0, np.array([1, token_to_id["<a_0>"]]))
print(*[token_of[number] for number in may_follow])

# %%
# The model below is tiny and has random weights: what it says is noise, and yet every
# ID exists. ``sk_rqvae`` does not need ``transformers``; where that is not installed,
# this cell does nothing.

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
