"""The link to the documentation in the HTML representation of an estimator."""

from __future__ import annotations

import os

_DISTRIBUTION = "sk-rqvae"
_VARIABLE = "SK_RQVAE_DOCS_URL"
_PAGE = "generated/sk_rqvae.{estimator_name}.html"


class DocLink:
    """Mixin that links the HTML representation to the class's documentation page.

    The address of the site is the environment variable ``SK_RQVAE_DOCS_URL`` if it is
    set, for example to a local build. Otherwise it is the documentation URL in the
    metadata of the installed package. If there is neither, there is no link.
    """

    _doc_link_module = "sk_rqvae"

    @property
    def _doc_link_template(self) -> str:
        site = os.environ.get(_VARIABLE) or _published_site()
        return f"{site.rstrip('/')}/{_PAGE}" if site else ""


def _published_site() -> str:
    """The project URL labelled Documentation; empty if there is none."""
    # Imported here because it doubles the time to import the index.
    from importlib import metadata

    try:
        urls = metadata.metadata(_DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # imported from a folder, not installed
        return ""
    labelled = dict(url.split(", ", maxsplit=1) for url in urls)
    return labelled.get("Documentation", "")
