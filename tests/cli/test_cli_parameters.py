"""The options that are parameters agree with those of the class."""

from __future__ import annotations

import inspect

import pytest

from sk_rqvae import RQVAETransformer
from sk_rqvae.cli.parameters import NOT_OPTIONS, PARAMETERS

SIGNATURE = inspect.signature(RQVAETransformer).parameters


def test_every_parameter_is_an_option_but_those_that_need_python():
    assert set(SIGNATURE) - set(PARAMETERS) == set(NOT_OPTIONS)
    assert set(PARAMETERS) <= set(SIGNATURE)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_help_states_the_default_of_a_parameter(name):
    parameter = PARAMETERS[name]
    default = SIGNATURE[name].default
    told = parameter.kind.convert(parameter.default, None, None)
    assert told == default


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_help_of_a_parameter_is_one_sentence(name):
    text = PARAMETERS[name].text
    assert text.count(". ") == 0
    assert text.endswith(".")
