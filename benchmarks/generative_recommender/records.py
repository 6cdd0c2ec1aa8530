"""Results on disk, so that an experiment that is cut off goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sk_rqvae._persistence.atomic import atomic_write

Result = dict[str, Any]


class Records:
    """Results by what they are results of, in a JSON file.

    Parameters
    ----------
    path : Path
        Is made with the first result.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results = json.loads(path.read_text()) if path.exists() else {}

    def get(self, **what: Any) -> Result | None:
        """The result of `what`, None if there is none yet."""
        return self._results.get(_key(what))

    def add(self, result: Result, **what: Any) -> Result:
        """Keep the result of `what`."""
        self._results[_key(what)] = result
        with atomic_write(self._path) as file:
            file.write(json.dumps(self._results).encode())
        return result


def _key(what: dict[str, Any]) -> str:
    return json.dumps(what, sort_keys=True)
