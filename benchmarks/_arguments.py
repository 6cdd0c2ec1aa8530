"""What the scripts' command lines have in common, and how runs are headed."""

from __future__ import annotations

import argparse

import torch

from _contract import Matrix
from _methods import package_versions
from _paths import existing_file


def new_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser described by the first line of a script's docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="cut everything short, to see that it runs; the figures mean nothing",
    )
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add which matrices, and how many bits."""
    parser.add_argument(
        "files",
        nargs="*",
        type=existing_file,
        metavar="FILE",
        help=".npy or .npz with a matrix of embeddings; default: the package's nouns",
    )
    parser.add_argument("--array", metavar="NAME", help="the matrix in an .npz file")
    parser.add_argument("--rows", type=int, help="draw that many rows of each matrix")
    parser.add_argument("--layers", type=int, default=3, help="codes an ID has")
    parser.add_argument("--codes", type=int, default=256, help="codes a codebook has")


def heading(name: str, X: Matrix, arguments: argparse.Namespace) -> str:
    n_rows, n_columns = X.shape
    return (
        f"**{name}**, {n_rows} x {n_columns}, a tenth unseen; "
        f"{arguments.layers} x {arguments.codes} codes; {conditions(arguments)}"
    )


def conditions(arguments: argparse.Namespace) -> str:
    seeds = " ".join(map(str, arguments.seeds))
    quick = " A quick run: the figures mean nothing." * arguments.quick
    return (
        f"seeds {seeds}; {torch.get_num_threads()} threads; {_gpu()}"
        f"{package_versions()}.{quick}"
    )


def _gpu() -> str:
    """What `device="auto"` is, where it is not the CPU."""
    if not torch.cuda.is_available():
        return ""
    return f'device="auto" is {torch.cuda.get_device_name()}; '
