"""Results on disk, one a line, so that a run that is cut off can continue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import sk_rqvae

Result = dict[str, Any]

_DECISIVE = ("_model", "_initialization", "_training", "_inference")


class Records:
    """Results by what they are results of.

    Lines are only ever appended, so files of several machines can be concatenated.

    Parameters
    ----------
    path : Path
        A file of JSON lines. It is made with the first result.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, Result] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                what, result = json.loads(line)
                self._results[_key(what)] = result

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Result]]:
        """What each result is of, and the result, oldest first."""
        return ((json.loads(key), result) for key, result in self._results.items())

    def get(self, **what: Any) -> Result | None:
        """The result of `what`, None if there is none yet."""
        return self._results.get(_key(what))

    def add(self, result: Result, **what: Any) -> Result:
        """Keep the result of `what`."""
        self._results[_key(what)] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([what, result]) + "\n")
        return result


def code_version() -> str:
    """A hash of the sources that decide what a fit and its IDs are."""
    package = Path(sk_rqvae.__file__).parent
    files = [package / "_defaults.py"]
    for folder in _DECISIVE:
        files += sorted((package / folder).glob("*.py"))
    digest = sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _key(what: dict[str, Any]) -> str:
    return json.dumps(what, sort_keys=True)
