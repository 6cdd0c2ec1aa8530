"""How many items keep their codes when the model is retrained.

The catalogue is the embedded nouns of WordNet. A tenth of it is new at the time of
retraining. The model is trained again from the beginning, or continues from the fitted
one with ``warm_start=True``; the codes are compared as they are, and after
`SemanticIDIndex.realign`.

    python benchmarks/realignment.py --items 3000
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns


def row(name: str, kept: list[float], explained: float) -> str:
    cells = " | ".join(f"{100 * share:.1f}%" for share in kept)
    return f"| {name} | {cells} | {explained:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--codebook-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    X = load_wordnet_nouns().data[: options.items]
    before = X[: len(X) * 9 // 10]
    parameters: dict[str, Any] = {
        "n_layers": 3,
        "codebook_size": options.codebook_size,
        "max_epochs": options.epochs,
        "hidden_dims": (64,),
        "random_state": 0,
        "device": "cpu",
    }
    old = RQVAETransformer(**parameters).fit(before)
    index = SemanticIDIndex(policy="none").fit(old.transform(before), model=old)
    scratch = RQVAETransformer(**parameters).fit(X)
    warm = RQVAETransformer(**parameters, warm_start=True).fit(before).fit(X)

    levels = " | ".join(("first code", "first two", "all three"))
    print(mark_of_this_run(), end="\n\n")
    print(f"| retrained | {levels} | explained variance |")
    print("|---|---:|---:|---:|---:|")
    for name, model in {"from the beginning": scratch, "warm_start": warm}.items():
        codes = model.transform(X)
        _, report = index.realign(codes, np.arange(len(X)), model=model)
        explained = model.score(X)
        print(row(name, report["kept_without"], explained))
        print(row(f"{name}, realigned", report["kept"], explained))


if __name__ == "__main__":
    main()
