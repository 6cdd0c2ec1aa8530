"""Quantizers of faiss: residual, local search, and product after a rotation."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _codebooks import sum_of_codes
from _contract import Codes, Matrix, Quantizer, Task


def fit_faiss(X: Matrix, task: Task, *, n_beams: int) -> Quantizer:
    """Fit faiss's ResidualQuantizer, at its defaults but for the beams.

    Its default training starts from principal components, of which it wants as many
    as there are columns: with fewer rows it fails, and plain k-means takes its place.
    """
    import faiss

    quantizer = faiss.ResidualQuantizer(X.shape[1], task.n_layers, _n_bits(task))
    quantizer.max_beam_size = n_beams
    if len(X) < X.shape[1]:
        quantizer.train_type = quantizer.Train_default
    quantizer.cp.seed = task.seed
    # Below the default of 39 faiss warns, at every step, and does the same.
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(X)
    codebooks = faiss.vector_to_array(quantizer.codebooks).reshape(
        task.n_layers, task.n_codes, X.shape[1]
    )

    encode = partial(_encode, quantizer, task)
    return Quantizer(encode, partial(sum_of_codes, codebooks), decodes_prefixes=True)


def fit_local_search(X: Matrix, task: Task) -> Quantizer:
    """Fit faiss's LocalSearchQuantizer (LSQ++), at its defaults.

    Martinez et al. (2018), "LSQ++: lower running time and higher recall in multi-
    codebook quantization". Its codebooks have no order, so prefixes mean nothing.
    """
    import faiss

    quantizer = faiss.LocalSearchQuantizer(X.shape[1], task.n_layers, _n_bits(task))
    quantizer.random_seed = task.seed
    if task.quick:
        quantizer.train_iters = 1
    quantizer.train(X)

    def decode(codes: Codes) -> Matrix:
        return quantizer.decode(_packed(codes, task))

    return Quantizer(partial(_encode, quantizer, task), decode, decodes_prefixes=False)


def fit_rotated_product(X: Matrix, task: Task) -> Quantizer:
    """Fit faiss's OPQMatrix and a ProductQuantizer behind it, at their defaults.

    Ge et al. (2013), "Optimized product quantization". Where the codes do not divide
    the columns, the rotation leads to a few more, which are zero without it.
    """
    import faiss

    n_parts = task.n_layers
    width = -(-X.shape[1] // n_parts) * n_parts
    rotation = faiss.OPQMatrix(X.shape[1], n_parts, width)
    quantizer = faiss.ProductQuantizer(width, n_parts, _n_bits(task))
    rotation.pq = quantizer
    quantizer.cp.seed = task.seed
    quantizer.cp.min_points_per_centroid = 1
    if task.quick:
        rotation.niter = 1
    # With fewer rows than columns, OPQMatrix writes where it must not.
    rotation.train(np.tile(X, (-(-width // len(X)), 1)))
    quantizer.train(rotation.apply(X))

    def encode(rows: Matrix) -> Codes:
        return _encode(quantizer, task, rotation.apply(np.ascontiguousarray(rows)))

    def decode(codes: Codes) -> Matrix:
        return rotation.reverse_transform(quantizer.decode(_packed(codes, task)))

    return Quantizer(encode, decode, decodes_prefixes=False)


def _n_bits(task: Task) -> int:
    return task.n_codes.bit_length() - 1


def _encode(quantizer: Any, task: Task, rows: Matrix) -> Codes:
    import faiss

    packed = quantizer.compute_codes(np.ascontiguousarray(rows))
    unpacked = faiss.unpack_bitstrings(packed, task.n_layers, _n_bits(task))
    return unpacked.astype(np.int64)


def _packed(codes: Codes, task: Task) -> NDArray[np.uint8]:
    import faiss

    return faiss.pack_bitstrings(codes.astype(np.int32), _n_bits(task))
