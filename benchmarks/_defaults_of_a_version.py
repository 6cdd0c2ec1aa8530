"""Fit the defaults of whichever `sk_rqvae` is found first, and print what they reach.

`versions.py` runs this with each version on the path. It uses only what all versions
have.

    python benchmarks/_defaults_of_a_version.py fitted.npy unseen.npy '{"n_layers": 3}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

import sk_rqvae
from sk_rqvae import RQVAETransformer
from sk_rqvae.metrics import explained_variance


def main(fitted_path: str, unseen_path: str, parameters: str) -> None:
    fitted, unseen = np.load(fitted_path), np.load(unseen_path)
    model = RQVAETransformer(**json.loads(parameters))
    start = perf_counter()
    model.fit(fitted)
    middle = perf_counter()
    codes = model.transform(fitted)
    end = perf_counter()
    decoded = model.inverse_transform(codes)
    decoded_unseen = model.inverse_transform(model.transform(unseen))
    result = {
        "fitted": explained_variance(fitted, decoded),
        "unseen": explained_variance(unseen, decoded_unseen),
        "fit_seconds": middle - start,
        "transform_seconds": end - middle,
        "package": str(Path(sk_rqvae.__file__).parent),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
