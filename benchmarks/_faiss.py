"""The residual quantizer of faiss."""

from __future__ import annotations

from functools import partial

import numpy as np

from _codebooks import sum_of_codes
from _contract import Codes, Matrix, Quantizer, Task


def fit_faiss(X: Matrix, task: Task, *, n_beams: int) -> Quantizer:
    """Fit faiss's ResidualQuantizer, at its defaults but for the beams.

    Its default training starts from principal components, of which it wants as many
    as there are columns: with fewer rows it fails, and plain k-means takes its place.
    """
    import faiss

    n_bits = task.n_codes.bit_length() - 1
    quantizer = faiss.ResidualQuantizer(X.shape[1], task.n_layers, n_bits)
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

    def encode(rows: Matrix) -> Codes:
        packed = quantizer.compute_codes(np.ascontiguousarray(rows))
        unpacked = faiss.unpack_bitstrings(packed, task.n_layers, n_bits)
        return unpacked.astype(np.int64)

    return Quantizer(encode, partial(sum_of_codes, codebooks), decodes_prefixes=True)
