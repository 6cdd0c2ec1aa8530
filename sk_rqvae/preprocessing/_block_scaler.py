"""Scale blocks of columns to chosen shares of the variance; fill missing blocks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae._checks.sample_weight import check_sample_weight
from sk_rqvae._sklearn.doc_link import DocLink
from sk_rqvae.preprocessing._block_moments import block_moments
from sk_rqvae.preprocessing._block_parameters import (
    check_blocks,
    check_fill,
    check_shares,
)
from sk_rqvae.preprocessing._block_regression import (
    Regressions,
    fill_with_predictions,
    fit_block_regressions,
)

FloatArray = NDArray[np.float64]
Matrix = NDArray[Any]

# What `fit` sets.
_FITTED = (
    "n_features_in_",
    "feature_names_in_",
    "mean_",
    "scale_",
    "block_names_",
    "block_sizes_",
    "_regressions",
)


class BlockScaler(DocLink, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale blocks of columns to chosen shares of the variance; fill missing blocks.

    A row describes an item by several views side by side, such as a text embedding and
    a vector of user behaviour. A quantizer minimises the squared error, so a view of
    larger variance dominates the IDs. This transformer gives each view the share of the
    variance that you choose. New items may lack a view: its columns are then NaN. The
    columns of a view are called a *block*.

    It works in two steps:

    1. Each column is centred, and each block is divided by one number, so that the
       ratios of distances within a block stay the same.
    2. A missing block is replaced by a linear prediction from the blocks that the row
       has. A new item then gets an ID among the items that it resembles. With
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
    fill : {"prediction", "mean"}, default="prediction"
        What replaces a missing block: its prediction from the other blocks, or its
        mean, which is zero. No item that has a block is near its mean, so with "mean"
        new items share prefixes with each other and not with items of their kind.
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

    Predictions are ridge regressions on the scaled blocks. There is one for each block
    and each set of other blocks, fitted to the rows that have all of them: 2 for two
    blocks, 9 for three, 28 for four. Generalised cross-validation chooses each penalty
    [2]_. The predictions of a regression are then multiplied by one number, so that
    they have the variance of what they predict: a regression shrinks towards the mean,
    and shrunk blocks are more similar to each other than to those of known items. If
    no penalty predicts better than the mean over these rows, that is the prediction.

    Multiple factor analysis [1]_ also weights concatenated views. Its weights equalise
    the first singular values, whereas these set shares of the total variance, which is
    what a squared error adds up.

    References
    ----------
    .. [1] B. Escofier and J. Pagès. Multiple factor analysis (AFMULT package).
       Computational Statistics & Data Analysis 18, 1994.
    .. [2] G. H. Golub, M. Heath and G. Wahba. Generalized cross-validation as a method
       for choosing a good ridge parameter. Technometrics 21, 1979.

    Examples
    --------
    Three items with a text embedding of two columns and a behaviour vector of one
    column. The last item is new, so its behaviour is unknown:

    >>> import numpy as np
    >>> from sk_rqvae import BlockScaler
    >>> X = np.array([[0.0, 2.0, 70.0], [2.0, 2.0, 30.0], [1.5, 2.0, np.nan]])
    >>> scaler = BlockScaler({"text": 2, "behaviour": 1}, shares=[3, 1])
    >>> scaler.fit_transform(X).round(3)
    array([[-2.059,  0.   ,  0.866],
           [ 1.471,  0.   , -0.866],
           [ 0.588,  0.   , -0.433]])
    >>> scaler.set_params(add_indicator=True).fit(X).get_feature_names_out()
    array(['x0', 'x1', 'x2', 'missing_text', 'missing_behaviour'], dtype=object)
    """

    mean_: FloatArray
    scale_: FloatArray
    block_names_: list[str]
    block_sizes_: list[int]
    n_features_in_: int
    _regressions: Regressions | None

    def __init__(
        self,
        blocks: Mapping[str, int] | Sequence[int] | None = None,
        *,
        shares: Mapping[str, float] | Sequence[float] | None = None,
        fill: str = "prediction",
        add_indicator: bool = False,
    ) -> None:
        self.blocks = blocks
        self.shares = shares
        self.fill = fill
        self.add_indicator = add_indicator

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn the scale of each block, and to predict it from the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. A missing block is NaN in all its columns.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in means, variances and predictions. None gives equal
            weights.

        Returns
        -------
        BlockScaler
            The fitted transformer.

        Raises
        ------
        ValueError
            If the blocks do not add up to the columns of `X`, a row has only a part of
            a block or no block, a block is missing in all rows, a share or weight is
            negative, `fill` has another value, or there are more than 6 blocks to
            predict.
        TypeError
            If `blocks` does not hold integers.
        """
        # A copy is fitted, so that an error or an interruption changes nothing here.
        fitted = copy.copy(self)
        fitted._fit(X, sample_weight)
        # What another thread has set meanwhile stays.
        others = {name: v for name, v in vars(self).items() if name not in _FITTED}
        self.__dict__ = others | {
            name: v for name, v in vars(fitted).items() if name in _FITTED
        }
        return self

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> None:
        matrix = self._validate(X, reset=True)
        names, sizes = check_blocks(self.blocks, matrix.shape[1])
        fill = check_fill(self.fill, len(names))
        shares = check_shares(self.shares, names)
        weights = np.ones(len(matrix))
        if sample_weight is not None:
            weights = check_sample_weight(sample_weight, len(matrix))
            weights = weights / weights.max()  # so that sums are finite
        missing = _missing_blocks(matrix, names, sizes)
        mean, deviation = block_moments(matrix, weights, missing, names, sizes)
        scale = deviation / np.sqrt(shares * matrix.shape[1])
        self.mean_ = mean
        self.scale_ = np.where(scale > 0, scale, 1.0)
        self.block_names_, self.block_sizes_ = names, sizes
        self._regressions = None
        if fill == "prediction":
            scaled = self._scaled(matrix, missing)
            self._regressions = fit_block_regressions(scaled, weights, missing, sizes)

    def transform(self, X: ArrayLike) -> Matrix:
        """Scale the blocks, and fill in missing ones.

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
            If `X` has other columns than in `fit`, a row has only a part of a block or
            no block, or a block is missing that no two rows of `fit` had beside the
            blocks of the row.
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        """
        fitted = self._snapshot()
        matrix = fitted._validate(X, reset=False)
        missing = _missing_blocks(matrix, fitted.block_names_, fitted.block_sizes_)
        scaled = fitted._scaled(matrix, missing)
        if fitted._regressions is not None:
            fill_with_predictions(
                scaled,
                missing,
                fitted.block_sizes_,
                fitted._regressions,
                fitted.block_names_,
            )
        columns = [scaled, missing] if fitted.add_indicator else [scaled]
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
            Rows without NaN. A missing block is what `fill` put in its place, or
            whatever values a reconstruction has for it.

        Raises
        ------
        ValueError
            If `X` has another number of columns than the output of `transform`, or a
            value that is not finite.
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        """
        fitted = self._snapshot()
        matrix = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        n_out = fitted._n_features_out
        if matrix.shape[1] != n_out:
            raise ValueError(
                f"X must have {n_out} columns, as the output of transform. Got "
                f"{matrix.shape[1]}."
            )
        scaled = matrix[:, : fitted.n_features_in_]
        rows = scaled * np.repeat(fitted.scale_, fitted.block_sizes_) + fitted.mean_
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
        names: NDArray[Any] = super().get_feature_names_out(input_features)
        if self.add_indicator:
            names = np.append(names, [f"missing_{name}" for name in self.block_names_])
        return names

    @property
    def _n_features_out(self) -> int:
        n_indicators = len(self.block_names_) if self.add_indicator else 0
        return self.n_features_in_ + n_indicators

    def _snapshot(self) -> Self:
        """Copy the transformer, so that a fit in another thread cannot change it."""
        check_is_fitted(self)
        return copy.copy(self)

    def _scaled(self, matrix: Matrix, missing: NDArray[np.bool_]) -> FloatArray:
        """Scaled blocks, with zeros in place of missing ones."""
        scaled: FloatArray = matrix - self.mean_
        scaled /= np.repeat(self.scale_, self.block_sizes_)
        scaled[np.repeat(missing, self.block_sizes_, axis=1)] = 0.0
        return scaled

    def _validate(self, X: Any, *, reset: bool) -> Matrix:
        check_unmasked(X, "X", instead="X.filled(np.nan)")
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
