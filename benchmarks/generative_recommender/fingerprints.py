"""Hashes of code and of data, to tell whether a record is still valid."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import sk_rqvae
from measured import is_text

BENCHMARKS = Path(__file__).resolve().parent.parent
LIBRARY = Path(sk_rqvae.__file__).resolve().parent

# What decides codes, whoever makes them.
_CODES = (
    "generative_recommender/identifiers.py",
    "generative_recommender/separation.py",
    "generative_recommender/split.py",
    "generative_recommender/views.py",
    "_autoencoder.py",
    "_codebooks.py",
    "_faiss.py",
    "_lc_rec.py",
    "_residual_kmeans.py",
    "_scaling.py",
)
# What decides views of behaviour.
_BEHAVIOUR = ("_checks", "_ridge.py", "interactions", "preprocessing")
# What decides the codes of the library's quantizer.
_QUANTIZER = (
    "_checks",
    "_defaults.py",
    "_torch_settings.py",
    "_transformer.py",
    "_inference",
    "_initialization",
    "_model",
    "_ridge.py",
    "_training",
)
# What decides how a recommender is trained and what it recommends.
_JUDGES = tuple(
    f"generative_recommender/{name}.py"
    for name in (
        "batches",
        "code_tree",
        "decoding",
        "judges",
        "layers",
        "recommenders",
        "split",
        "training",
    )
)
# What decides suffixes, trees of IDs and scores.
_INDEX_AND_METRICS = ("_checks", "index", "metrics")


@cache
def codes_fingerprint(is_ours: bool, uses_behaviour: bool) -> str:
    """Hash the code that makes IDs, and the library's version."""
    files = [BENCHMARKS / name for name in _CODES]
    if uses_behaviour:
        files += _library_files(_BEHAVIOUR)
    if is_ours:
        files += _library_files(_QUANTIZER)
    return digest(sk_rqvae.__version__, hash_of_code(files))


@cache
def judges_fingerprint() -> str:
    """Hash the code that trains and scores recommenders, and the library's version."""
    files = [BENCHMARKS / name for name in _JUDGES]
    files += _library_files(_INDEX_AND_METRICS)
    return digest(sk_rqvae.__version__, hash_of_code(files))


def hash_of_code(files: Iterable[Path]) -> str:
    """Hash Python files without comments, docstrings and blank lines."""
    content = sha256()
    for path in files:
        content.update(path.name.encode())
        content.update(_bare(path.read_text(encoding="utf-8")).encode())
    return content.hexdigest()[:16]


def digest(*parts: Any) -> str:
    """Hash arrays and what JSON can hold."""
    content = sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            content.update(f"{part.dtype}{part.shape}".encode())
            content.update(np.ascontiguousarray(part).tobytes())
        else:
            content.update(json.dumps(part, sort_keys=True).encode())
    return content.hexdigest()[:16]


def _library_files(names: Iterable[str]) -> list[Path]:
    files = []
    for name in names:
        path = LIBRARY / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return files


def _bare(source: str) -> str:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if is_text(node):
            for at in range(node.lineno - 1, node.end_lineno):
                lines[at] = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT and lines[row - 1]:
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())
