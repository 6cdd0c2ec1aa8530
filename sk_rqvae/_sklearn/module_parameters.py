"""Parameters of the module class of a user, with the prefix that skorch gives them."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, Self, TypeVar

PREFIX = "module__"

Init = TypeVar("Init", bound=Callable[..., None])


class ModuleParametersMixin:
    """Takes, returns and sets parameters whose names begin with ``module__``."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this transformer.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include parameters of parameters that are estimators.

        Returns
        -------
        dict
            Values by name, those of the module included.
        """
        of_transformer: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        return of_transformer | _prefixed(self)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this transformer.

        Parameters
        ----------
        **params : dict
            Values by name, those of the module as ``module__<name>``.

        Returns
        -------
        self : RQVAETransformer
        """
        own = {name: params.pop(name) for name in list(params) if is_own(name)}
        super().set_params(**params)  # type: ignore[misc]
        vars(self).update(own)
        return self


def hides_module_parameters(init: Init) -> Init:
    """Leave ``**module_parameters`` out of the signature of a constructor.

    scikit-learn's checks would set a parameter of this name.
    """
    shown = signature(init)
    named = [
        each
        for each in shown.parameters.values()
        if each.kind is not Parameter.VAR_KEYWORD
    ]
    init.__signature__ = shown.replace(parameters=named)  # type: ignore[attr-defined]
    return init


def is_own(name: str) -> bool:
    """Whether a parameter of the transformer is one of its module."""
    return name.startswith(PREFIX)


def module_parameters(estimator: Any) -> dict[str, Any]:
    """The parameters of a user's module, by the names that the module has for them."""
    return {
        name.removeprefix(PREFIX): value for name, value in _prefixed(estimator).items()
    }


def _prefixed(estimator: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(estimator).items() if is_own(name)}
