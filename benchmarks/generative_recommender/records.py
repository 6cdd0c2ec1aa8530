"""Codes and runs on disk, found by the fingerprint of all that decides them.

A record is one file, written in one step when a run ends. So a benchmark that was cut
off goes on where it was, and a change of data, library, method, recommender or settings
leads to a new record instead of an old number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sk_rqvae._persistence.atomic import atomic_write


@dataclass(frozen=True)
class Record:
    """Arrays, and what JSON can hold."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


class Records:
    """Records in a folder.

    Parameters
    ----------
    folder : Path
        Is made with the first record.
    any_key : bool
        Whether the newest record of a name is good enough, whatever its key.
    """

    def __init__(self, folder: Path, *, any_key: bool = False) -> None:
        self.folder, self.any_key = folder, any_key

    def get(self, name: str, key: str) -> Record | None:
        """Read the record of a name and a key, None if there is none."""
        path = self._path(name, key)
        if not self.any_key:
            return _read(path) if path.exists() else None
        found = [_read(path) for path in self.folder.glob(f"{name}.*.npz")]
        return max(found, key=lambda record: record.facts["written"], default=None)

    def add(self, name: str, key: str, record: Record) -> None:
        """Write a record. Its facts must have the time ``written``."""
        path = self._path(name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            facts = np.array(json.dumps(record.facts))
            np.savez_compressed(file, facts=facts, **record.arrays)

    def _path(self, name: str, key: str) -> Path:
        return self.folder / f"{name}.{key}.npz"


def _read(path: Path) -> Record:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts = json.loads(str(arrays.pop("facts")))
    return Record(arrays, facts)
