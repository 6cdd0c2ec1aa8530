"""What the archives of a release say of the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def links(**changes):
    """The links in the metadata, with variables of the environment changed."""
    environment = os.environ | changes
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "metadata"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout).get("urls", {})


@pytest.mark.slow
def test_archives_link_to_the_repository_whose_workflow_builds_them():
    pytest.importorskip("hatchling")
    found = links(GITHUB_REPOSITORY="Someone/fork")
    assert found["Source"] == "https://github.com/Someone/fork"
    assert found["Documentation"] == "https://someone.github.io/fork/"
    assert links(GITHUB_REPOSITORY="") == {}
