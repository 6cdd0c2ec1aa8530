"""scikit-learn's protocol for parameters, without importing scikit-learn.

`sklearn.base.clone`, `repr` and the HTML form of a notebook work on an object that has
``get_params``, ``set_params`` and ``fit``. The functions here give an object these.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from sk_rqvae._sklearn.doc_link import DocLink


def parameters_of(estimator: object) -> dict[str, Any]:
    """Return the constructor parameters of an object by name, sorted."""
    names = sorted(_defaults(estimator))
    return {name: getattr(estimator, name) for name in names}


def set_parameters(estimator: object, values: dict[str, Any]) -> None:
    """Set constructor parameters of an object, all or none."""
    known = _defaults(estimator)
    for name in values:
        if name not in known:
            raise ValueError(
                f"Invalid parameter {name!r} for {type(estimator).__name__}. Valid "
                f"parameters are {sorted(known)}."
            )
    for name, value in values.items():
        setattr(estimator, name, value)


def described(estimator: object, *contents: str) -> str:
    """Return the call that makes an object, without parameters at their default.

    `contents` say what the object holds, after the parameters.
    """
    defaults = _defaults(estimator)
    changed = [
        f"{name}={value!r}"
        for name, value in parameters_of(estimator).items()
        if repr(value) != repr(defaults[name])
    ]
    return f"{type(estimator).__name__}({', '.join([*changed, *contents])})"


def documentation_link(estimator: object) -> str:
    """Return the address of the page of an object's class, or an empty string."""
    return DocLink()._doc_link_template.format(estimator_name=type(estimator).__name__)


def default_tags() -> Any:
    """Return the tags that scikit-learn gives an estimator without tags of its own."""
    return importlib.import_module("sklearn.base").BaseEstimator().__sklearn_tags__()


def html_form(estimator: object) -> str:
    """Return what a notebook shows of an object."""
    html: str = importlib.import_module("sklearn.utils").estimator_html_repr(estimator)
    return html


def not_fitted_error(estimator: object) -> Exception:
    """Make scikit-learn's error for an object that is not fitted."""
    error: type[Exception] = importlib.import_module(
        "sklearn.exceptions"
    ).NotFittedError
    return error(
        f"This {type(estimator).__name__} is not fitted yet. Call fit, load, from_json "
        "or from_table first."
    )


def _defaults(estimator: object) -> dict[str, Any]:
    signature = inspect.signature(type(estimator))
    return {name: value.default for name, value in signature.parameters.items()}
