"""What the archives of a release say of the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from publish import address_of, folder_of

ROOT = Path(__file__).parents[1]


def metadata(**changes):
    """The metadata of the archives, with variables of the environment changed."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata"],
        cwd=ROOT,
        env=os.environ | changes,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_archives_link_to_the_repository_whose_workflow_builds_them():
    pytest.importorskip("hatchling")
    release = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.2.0"}
    found = metadata(GITHUB_REPOSITORY="Someone/fork", **release)
    assert found["urls"]["Source"] == "https://github.com/Someone/fork"
    pages = address_of("Someone/fork") + folder_of(release)
    assert found["urls"]["Documentation"] == f"{pages}/"
    targets = re.findall(r"\]\((.*?)\)", found["readme"]["text"])
    assert "https://github.com/Someone/fork/blob/v1.2.0/CONTRIBUTING.md" in targets
    assert all(target.startswith("https://") for target in targets)


@pytest.mark.slow
def test_archives_that_are_built_elsewhere_have_the_readme_as_it_is():
    pytest.importorskip("hatchling")
    found = metadata(GITHUB_REPOSITORY="")
    assert "urls" not in found
    assert found["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
