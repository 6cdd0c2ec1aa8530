"""Metadata of the archives that hatchling builds: the description and the links."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)")


class RepositoryLinks(MetadataHookInterface):
    """Links into the repository on GitHub whose workflow builds the archives.

    A package index shows the README without the files that it links to, so these links
    become absolute too. Archives that are built elsewhere have no links of their own.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the fields `readme` and `urls`, in place."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("GITHUB_REPOSITORY")
        if repository:
            address = f"https://github.com/{repository}"
            tag = os.environ.get("GITHUB_REF_NAME", "main")
            text = _RELATIVE_LINK.sub(f"]({address}/blob/{tag}/", text)
            owner, name = repository.split("/")
            # The folder in which docs/publish.py puts the pages of this version.
            is_tag = os.environ.get("GITHUB_REF_TYPE") == "tag"
            folder = tag.removeprefix("v") if is_tag else "dev"
            metadata["urls"] = {
                "Documentation": f"https://{owner.lower()}.github.io/{name}/{folder}/",
                "Source": address,
                "Issues": f"{address}/issues",
                "Changelog": f"{address}/blob/main/CHANGELOG.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
