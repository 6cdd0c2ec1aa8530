"""Links of the project, in the metadata of the archives that hatchling builds."""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryLinks(MetadataHookInterface):
    """Links into the repository on GitHub whose workflow builds the archives.

    Archives that are built elsewhere have no links.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `urls`, in place."""
        repository = os.environ.get("GITHUB_REPOSITORY")
        if not repository:
            return
        address = f"https://github.com/{repository}"
        owner, name = repository.split("/")
        metadata["urls"] = {
            "Documentation": f"https://{owner.lower()}.github.io/{name}/",
            "Source": address,
            "Issues": f"{address}/issues",
            "Changelog": f"{address}/blob/main/CHANGELOG.md",
        }
