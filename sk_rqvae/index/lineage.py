"""The files that an index was saved to or loaded from, as far as it remembers them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.runs import SortedRuns
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.history import Event
from sk_rqvae.index.policies.moves import Moves

# Every file has up to twice as many names, 36 bytes each. An index that missed more
# saves than this cannot be merged and has to be loaded again.
_REMEMBERED_SAVES = 1000
# A live file and some copies. The base of each is part of every pickle of the index and
# can have 8 bytes a row for hashes and 8 for weights, so four of them can be twice as
# large as the index.
_REMEMBERED_PLACES = 4
# One is added by a save of which nobody knows whether it was written, which is rare.
_REMEMBERED_NAMES = 8


class Base(NamedTuple):
    """What a file held, as far as a merge has to know what changed since.

    Attributes
    ----------
    name : str
        A hash of its content.
    n_rows : int
        How many rows it had. The state begins with them.
    removed : SortedRuns
        Those of them that were removed.
    moves : Moves
    digests : GrowingArray or None
    history : tuple of Event
    weights : GrowingArray or None
        None if no item had one, or if it was pickled before weights were remembered.
    """

    name: str
    n_rows: int
    removed: SortedRuns
    moves: Moves
    digests: GrowingArray | None
    history: tuple[Event, ...]
    weights: GrowingArray | None = None


class Place(NamedTuple):
    """What was last seen at a path.

    Attributes
    ----------
    path : str
        Absolute, as it was given.
    target : str
        The same without symbolic links.
    names : tuple of str
        Names that the file may have: that of the last one seen, and those of saves
        since that were interrupted.
    """

    path: str
    target: str
    names: tuple[str, ...]


class Lineage(NamedTuple):
    """The saved files whose changes a state has. Only their names are saved.

    Attributes
    ----------
    saves : tuple of str
        Names of files with whose rows the state begins, the last one last.
    replaced : tuple of str
        Names of other files that the state may replace: their changes were merged into
        another file, or the index was fitted again.
    places : tuple of Place
        What was last seen where, the last one last.
    bases : tuple of Base
        What the files of `places` held, the last one last, if the state still begins
        with their rows.
    """

    saves: tuple[str, ...]
    replaced: tuple[str, ...]
    places: tuple[Place, ...]
    bases: tuple[Base, ...]

    @classmethod
    def none(cls) -> Lineage:
        """Lineage of a state that was never saved."""
        return cls((), (), (), ())

    @property
    def is_saved(self) -> bool:
        """Whether the index was saved or loaded."""
        return bool(self.saves or self.replaced)

    def has_changes_of(self, name: str, path: PathLike) -> bool:
        """Whether a file at `path` may be replaced, because it has no other changes.

        At a path where this index saw a newer file, an older one is a change by
        somebody who went back to it. At any other path, an older file is taken for a
        stale copy and may be replaced.
        """
        place = self._place(path)
        known = (*self.saves, *self.replaced) if place is None else place.names
        return name in known

    def base_of(self, theirs: Lineage, path: PathLike) -> Base | None:
        """Find the last common file of this state and that of the file at `path`.

        None if they have none, or if the file does not descend from what was there.
        """
        place = self._place(path)
        if place is not None and not set(place.names) & set(theirs.saves):
            return None
        common = [base for base in self.bases if base.name in theirs.saves]
        return common[-1] if common else None

    def before_saving(self, base: Base, path: PathLike) -> Lineage:
        """Record the name of a save before it is written.

        An interrupted save is recognised by it.
        """
        place = self._place(path)
        if place is None:
            saves = _last_of(self.saves, base.name, _REMEMBERED_SAVES)
            return self._replace(saves=saves) if self.is_saved else self
        return self._seen(base, path, place.names)

    def at(self, base: Base, path: PathLike) -> Lineage:
        """Return the lineage after a load from or a save to `path`."""
        return self._seen(base, path, ())

    def merged_into(self, theirs: Lineage) -> Lineage:
        """Return the lineage of a state that begins with the rows of `theirs`.

        `theirs` is as it was loaded.
        """
        names = (*theirs.replaced, *self.replaced, *self.saves)
        others = dict.fromkeys(name for name in names if name not in theirs.saves)
        bases = tuple(base for base in self.bases if base.name in theirs.saves)
        lineage = Lineage(
            theirs.saves, tuple(others)[-_REMEMBERED_SAVES:], self.places, bases
        )
        return lineage.at(theirs.bases[-1], theirs.places[-1].path)

    def fitted_again(self) -> Lineage:
        """Return the lineage of a state that replaces the rows of this one."""
        replaced = dict.fromkeys((*self.replaced, *self.saves))
        return Lineage((), tuple(replaced)[-_REMEMBERED_SAVES:], self.places, ())

    def _seen(self, base: Base, path: PathLike, before: tuple[str, ...]) -> Lineage:
        """Put a file at `path`, where those called `before` may still be."""
        names = _last_of(before, base.name, _REMEMBERED_NAMES)
        here = Place(*_places(path), names)
        others = (place for place in self.places if place.target != here.target)
        places = (*others, here)[-_REMEMBERED_PLACES:]
        names_there = {name for place in places for name in place.names}
        bases = (*(other for other in self.bases if other.name != base.name), base)
        return Lineage(
            _last_of(self.saves, base.name, _REMEMBERED_SAVES),
            self.replaced,
            places,
            tuple(base for base in bases if base.name in names_there),
        )

    def _place(self, path: PathLike) -> Place | None:
        # Somebody goes back by a link too, which then has another target.
        given, target = _places(path)
        for place in reversed(self.places):
            if place.path == given or place.target == target:
                return place
        return None


def _places(path: PathLike) -> tuple[str, str]:
    """A path in absolute form, as it was given and without links."""
    given = Path(os.fsdecode(path)).absolute()
    return str(given), os.path.realpath(given)


def _last_of(names: tuple[str, ...], new: str, n: int) -> tuple[str, ...]:
    """Append a name, or put it last, and keep the last `n`."""
    return (*(name for name in names if name != new), new)[-n:]
