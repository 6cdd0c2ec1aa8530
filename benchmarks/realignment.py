"""How many items keep their codes when the model is retrained.

The catalogue is the embedded nouns of WordNet. A tenth of it is new at the time of
retraining. The old model gives the new items codes as it is, or continues with
``warm_start=True`` for all of its epochs or a third of them, or a new one is trained
from the beginning. The codes are compared as they are, and after
`SemanticIDIndex.realign`.

    python benchmarks/realignment.py --items 3000
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import numpy as np

from measured import mark_of_this_run
from sk_rqvae import RQVAETransformer, SemanticIDIndex
from sk_rqvae.datasets import load_wordnet_nouns


def row(name: str, kept: list[float], explained: list[float]) -> str:
    shares = [f"{100 * share:.1f}%" for share in kept]
    return f"| {' | '.join([name, *shares, *(f'{each:.4f}' for each in explained)])} |"


def continued(model: Any, X: np.ndarray, epochs: int) -> Any:
    """A copy of a fitted model that is trained further."""
    later = copy.deepcopy(model)
    return later.set_params(warm_start=True, max_epochs=epochs).fit(X)


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
    third = max(1, options.epochs // 3)
    models = {
        "not retrained": old,
        f"`warm_start`, {third} epochs": continued(old, X, third),
        f"`warm_start`, {options.epochs} epochs": continued(old, X, options.epochs),
        "from the beginning": RQVAETransformer(**parameters).fit(X),
    }

    levels = " | ".join(("first code", "first two", "all three"))
    print(mark_of_this_run(), end="\n\n")
    print(f"| retrained | {levels} | explained variance | of new items |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, model in models.items():
        codes = model.transform(X)
        _, report = index.realign(codes, np.arange(len(X)), model=model)
        explained = [model.score(X), model.score(X[len(before) :])]
        print(row(name, report["kept_without"], explained))
        if report["kept"] != report["kept_without"]:
            print(row(f"{name}, realigned", report["kept"], explained))


if __name__ == "__main__":
    main()
