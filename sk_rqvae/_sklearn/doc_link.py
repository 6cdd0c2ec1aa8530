"""Where the HTML form of an estimator finds its page of the documentation."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, metadata

_DISTRIBUTION = "sk-rqvae"
_VARIABLE = "SK_RQVAE_DOCS_URL"
_PAGE = "generated/sk_rqvae.{estimator_name}.html"


class DocLink:
    """Give an estimator scikit-learn's link to its documentation.

    The address of the site is in the environment variable ``SK_RQVAE_DOCS_URL``, for a
    site that was built locally, say. Without it, it is the one that the installed
    package names as its documentation. Where neither is there, there is no link.
    """

    _doc_link_module = "sk_rqvae"

    @property
    def _doc_link_template(self) -> str:
        site = os.environ.get(_VARIABLE) or _published_site()
        return f"{site.rstrip('/')}/{_PAGE}" if site else ""


def _published_site() -> str:
    """The project's URL of the label Documentation, empty if it has none."""
    try:
        urls = metadata(_DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:  # imported from a folder, not installed
        return ""
    labelled = dict(url.split(", ", maxsplit=1) for url in urls)
    return labelled.get("Documentation", "")
