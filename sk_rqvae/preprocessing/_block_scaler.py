"""Scale blocks of columns to chosen shares of the variance, with missing blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_rqvae._checks.sample_weight import check_sample_weight
from sk_rqvae._sklearn.doc_link import DocLink
from sk_rqvae.preprocessing._block_parameters import check_blocks, check_shares

FloatArray = NDArray[np.float64]
Matrix = NDArray[Any]


class BlockScaler(DocLink, TransformerMixin, BaseEstimator):
    """Scale blocks of columns to chosen shares of the variance; fill missing blocks.

    A row describes an item by several views side by side, such as a text embedding and
    a vector of user behaviour. A quantizer minimises the squared error, so a view of
    larger variance dominates the IDs. This transformer gives each view the share of the
    variance that you choose. New items may lack a view: its columns are then NaN.

    It works in two steps:

    1. Each column is centred, and each block is divided by one number, so that the
       ratios of distances within a block stay the same.
    2. A missing block becomes zeros, which is the mean of the block. With
       `add_indicator`, one binary column per block marks where it was missing.

    Parameters
    ----------
    blocks : dict of str to int, or sequence of int, default=None
        Number of columns of each block, in the order of the columns, with the names of
        the blocks as keys. Blocks of a sequence are called "block0", "block1" and so
        on. None is one block of all columns.
    shares : dict of str to float, or sequence of float, default=None
        Relative share of the variance of each block, positive, in the order of `blocks`
        or by name. They are divided by their sum. None gives all blocks equal shares.
    add_indicator : bool, default=False
        Append one column per block, which is 1 in rows without the block and else 0.
        For `sk_rqvae.RQVAETransformer`, set ``n_cat_features`` to the number of blocks
        then.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of each column over the rows that have its block.
    scale_ : ndarray of shape (n_blocks,)
        The number by which each block is divided. 1 for a block of constant columns.
    block_names_ : list of str
        Names of the blocks.
    block_sizes_ : list of int
        Number of columns of each block.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names of `X`, if it had any in `fit`.

    See Also
    --------
    sk_rqvae.RQVAETransformer : The quantizer to put after it in a Pipeline.
    sklearn.preprocessing.StandardScaler : Scales every column separately.

    Notes
    -----
    Let ``V[b]`` be the sum of the (population) variances of the columns of block ``b``
    over the rows that have it, ``s[b]`` its share, and ``p`` the number of columns of
    `X`. The block is divided by ``sqrt(V[b] / (s[b] * p))``. Over the rows that have
    it, its variance is then ``s[b] * p``, and ``p`` is the variance of complete rows.
    Columns have a mean variance of 1, as after a ``StandardScaler``.

    Multiplying all blocks by the same factor changes no ID, because the quantizer
    divides rows by their overall scale.

    Multiple factor analysis [1]_ also weights concatenated views. Its weights equalise
    the first singular values, whereas these set shares of the total variance, which is
    what a squared error adds up.

    References
    ----------
    .. [1] B. Escofier and J. Pagès. Multiple factor analysis (AFMULT package).
       Computational Statistics & Data Analysis 18, 1994.

    Examples
    --------
    Three items with a text embedding of two columns and a behaviour vector of one
    column. The last item is new, so its behaviour is unknown:

    >>> import numpy as np
    >>> from sk_rqvae import BlockScaler
    >>> X = np.array([[0.0, 2.0, 70.0], [2.0, 2.0, 30.0], [1.0, 2.0, np.nan]])
    >>> scaler = BlockScaler({"text": 2, "behaviour": 1}, shares=[3, 1])
    >>> scaler.fit_transform(X).round(3)
    array([[-1.837,  0.   ,  0.866],
           [ 1.837,  0.   , -0.866],
           [ 0.   ,  0.   ,  0.   ]])
    >>> scaler.set_params(add_indicator=True).fit(X).get_feature_names_out()
    array(['x0', 'x1', 'x2', 'missing_text', 'missing_behaviour'], dtype=object)
    """

    mean_: FloatArray
    scale_: FloatArray
    block_names_: list[str]
    block_sizes_: list[int]
    n_features_in_: int

    def __init__(
        self,
        blocks: Mapping[str, int] | Sequence[int] | None = None,
        *,
        shares: Mapping[str, float] | Sequence[float] | None = None,
        add_indicator: bool = False,
    ) -> None:
        self.blocks = blocks
        self.shares = shares
        self.add_indicator = add_indicator

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn the mean of each column and the scale of each block.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. A missing block is NaN in all its columns.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in means and variances. None gives equal weights.

        Returns
        -------
        BlockScaler
            The fitted transformer.

        Raises
        ------
        ValueError
            If the blocks do not add up to the columns of `X`, a row has only a part of
            a block or no block, a block is missing in all rows, or a share or weight is
            negative.
        TypeError
            If `blocks` does not hold integers.
        """
        matrix = self._validate(X, reset=True)
        names, sizes = check_blocks(self.blocks, matrix.shape[1])
        shares = check_shares(self.shares, names)
        weights = np.ones(len(matrix))
        if sample_weight is not None:
            weights = check_sample_weight(sample_weight, len(matrix))
        missing = _missing_blocks(matrix, names, sizes)
        mean, variance = _moments(matrix, weights, missing, names, sizes)
        scale = np.sqrt(variance / (shares * matrix.shape[1]))
        self.mean_ = mean
        self.scale_ = np.where(scale > 0, scale, 1.0)
        self.block_names_, self.block_sizes_ = names, sizes
        return self

    def transform(self, X: ArrayLike) -> Matrix:
        """Scale the blocks, and replace missing ones by zeros.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. A missing block is NaN in all its columns.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            Of the dtype of `X`, if it is float32, else float64. With `add_indicator`,
            the last columns are the indicators of the blocks.

        Raises
        ------
        ValueError
            If `X` has other columns than in `fit`, or a row has only a part of a block
            or no block.
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        """
        check_is_fitted(self)
        matrix = self._validate(X, reset=False)
        missing = _missing_blocks(matrix, self.block_names_, self.block_sizes_)
        scaled = (matrix - self.mean_) / np.repeat(self.scale_, self.block_sizes_)
        scaled[np.repeat(missing, self.block_sizes_, axis=1)] = 0.0
        columns = [scaled, missing] if self.add_indicator else [scaled]
        return np.concatenate(columns, axis=1, dtype=matrix.dtype)

    def inverse_transform(self, X: ArrayLike) -> Matrix:
        """Return to the units of the input, without indicator columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            Output of `transform`, or a reconstruction of it.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Rows without NaN. A missing block is the mean of the block, or whatever
            values a reconstruction has for it.

        Raises
        ------
        ValueError
            If `X` has another number of columns than the output of `transform`, or a
            value that is not finite.
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        """
        check_is_fitted(self)
        matrix = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        n_out = self._n_features_out
        if matrix.shape[1] != n_out:
            raise ValueError(
                f"X must have {n_out} columns, as the output of transform. Got "
                f"{matrix.shape[1]}."
            )
        scaled = matrix[:, : self.n_features_in_]
        rows = scaled * np.repeat(self.scale_, self.block_sizes_) + self.mean_
        return rows.astype(matrix.dtype, copy=False)

    def get_feature_names_out(
        self, input_features: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Names of the output columns.

        Parameters
        ----------
        input_features : sequence of str, default=None
            Names of the input columns. None uses those seen in `fit`, or "x0", "x1" and
            so on.

        Returns
        -------
        ndarray of str, dtype object
            The names of the input columns, then ``missing_<block>`` for each indicator.

        Raises
        ------
        ValueError
            If `input_features` differs from the names seen in `fit`, or has another
            length than the input has columns.
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        """
        check_is_fitted(self)
        seen = getattr(self, "feature_names_in_", None)
        if input_features is None:
            default = [f"x{column}" for column in range(self.n_features_in_)]
            names = default if seen is None else list(seen)
        else:
            names = list(input_features)
            if len(names) != self.n_features_in_:
                raise ValueError(
                    "input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(names)}."
                )
            if seen is not None and names != list(seen):
                raise ValueError("input_features is not equal to feature_names_in_.")
        if self.add_indicator:
            names += [f"missing_{block}" for block in self.block_names_]
        return np.asarray(names, dtype=object)

    @property
    def _n_features_out(self) -> int:
        n_indicators = len(self.block_names_) if self.add_indicator else 0
        return self.n_features_in_ + n_indicators

    def _validate(self, X: Any, *, reset: bool) -> Matrix:
        return np.asarray(
            validate_data(
                self,
                X,
                reset=reset,
                dtype=[np.float64, np.float32],
                ensure_all_finite="allow-nan",
            )
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # A row needs at least one block, so a single one is never missing.
        tags.input_tags.allow_nan = (
            isinstance(self.blocks, Sized) and len(self.blocks) > 1
        )
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _missing_blocks(
    matrix: Matrix, names: list[str], sizes: list[int]
) -> NDArray[np.bool_]:
    """Find missing blocks, of shape (n_rows, n_blocks), and reject partial ones."""
    unknown = np.isnan(matrix)
    starts = np.cumsum([0, *sizes[:-1]])
    n_unknown = np.add.reduceat(unknown, starts, axis=1, dtype=np.int64)
    missing = n_unknown == sizes
    partial = (n_unknown > 0) & ~missing
    if partial.any():
        row, block = np.argwhere(partial)[0]
        raise ValueError(
            f"X must have all columns of a block or none. Got NaN in "
            f"{n_unknown[row, block]} of {sizes[block]} columns of block "
            f"{names[block]!r} in row {row}."
        )
    if missing.all(axis=1).any():
        row = missing.all(axis=1).argmax()
        raise ValueError(
            f"X must have at least one block in each row. Input X contains NaN in all "
            f"columns of row {row}."
        )
    return np.asarray(missing)


def _moments(
    matrix: Matrix,
    weights: FloatArray,
    missing: NDArray[np.bool_],
    names: list[str],
    sizes: list[int],
) -> tuple[FloatArray, FloatArray]:
    """Mean of each column and variance of each block, over the rows that have it."""
    mean, variance = np.empty(matrix.shape[1]), np.empty(len(sizes))
    start = 0
    for block, size in enumerate(sizes):
        columns = slice(start, start + size)
        start += size
        used = ~missing[:, block] & (weights > 0)
        if not used.any():
            raise ValueError(
                f"X must have block {names[block]!r} in at least one row of positive "
                "weight. Got none."
            )
        rows, weight = matrix[used, columns].astype(np.float64), weights[used]
        weight = weight / weight.sum()
        # Relative to the first row, so that constant columns have zero variance.
        rows -= (first := rows[0].copy())
        offset = weight @ rows
        mean[columns] = first + offset
        with np.errstate(over="ignore", invalid="ignore"):
            variance[block] = weight @ np.square(rows - offset).sum(axis=1)
        if not np.isfinite(variance[block]):
            raise ValueError(
                f"X must have a finite variance. That of block {names[block]!r} "
                "overflows."
            )
    return mean, variance
