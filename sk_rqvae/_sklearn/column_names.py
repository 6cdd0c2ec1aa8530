"""Column names of rows, as scikit-learn checks them."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import validate_data


def check_column_names(estimator: Any, X: Any) -> None:
    """Check the columns of `X` like any method of a fitted estimator.

    Raises
    ------
    ValueError
        If `X` has other names than in `fit`, or the same in another order.

    Warns
    -----
    UserWarning
        If `X` has no names.
    """
    validate_data(estimator, X, reset=False, skip_check_array=True)
