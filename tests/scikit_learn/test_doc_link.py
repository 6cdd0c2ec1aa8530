from __future__ import annotations

import importlib.metadata
from email.message import Message

import pytest
from conftest import small
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sk_rqvae import RQVAETransformer, SemanticIDIndex

SITE = "https://docs.example/stable/"
PAGE = "https://docs.example/stable/generated/sk_rqvae.RQVAETransformer.html"


@pytest.fixture
def published(monkeypatch):
    """Set the project URLs of the installed package."""

    def publish(*urls):
        found = Message()
        for url in urls:
            found["Project-URL"] = url
        monkeypatch.setattr(importlib.metadata, "metadata", lambda name: found)

    monkeypatch.delenv("SK_RQVAE_DOCS_URL", raising=False)
    publish()
    return publish


def test_the_html_form_links_to_the_page_of_the_class(published, monkeypatch, fitted):
    monkeypatch.setenv("SK_RQVAE_DOCS_URL", SITE)
    for estimator in (RQVAETransformer(), fitted):
        assert f'href="{PAGE}"' in estimator_html_repr(estimator)
    index = estimator_html_repr(SemanticIDIndex())
    assert 'href="https://docs.example/stable/generated/sk_rqvae.Semantic' in index


def test_the_link_is_there_inside_a_pipeline_too(published, monkeypatch):
    monkeypatch.setenv("SK_RQVAE_DOCS_URL", SITE)
    pipe = make_pipeline(StandardScaler(), small())
    assert f'href="{PAGE}"' in estimator_html_repr(pipe)


def test_without_the_variable_the_site_is_that_of_the_package_metadata(published):
    published("Source, https://code.example", f"Documentation, {SITE}")
    assert RQVAETransformer()._get_doc_link() == PAGE


def test_the_environment_variable_takes_precedence_over_the_package(
    published, monkeypatch
):
    published("Documentation, https://other.example")
    monkeypatch.setenv("SK_RQVAE_DOCS_URL", SITE)
    assert RQVAETransformer()._get_doc_link() == PAGE


def test_without_a_known_site_there_is_no_link(published, fitted):
    published("Source, https://code.example")
    assert fitted._get_doc_link() == ""
    assert "sk_rqvae.RQVAETransformer.html" not in estimator_html_repr(fitted)


def test_without_an_installed_package_there_is_no_link(published, monkeypatch):
    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", not_installed)
    assert RQVAETransformer()._get_doc_link() == ""


def test_a_subclass_outside_the_package_is_not_linked(published, monkeypatch):
    class Mine(RQVAETransformer):
        pass

    monkeypatch.setenv("SK_RQVAE_DOCS_URL", SITE)
    assert Mine()._get_doc_link() == ""
