"""The files that an index was saved to or loaded from, as far as it remembers them."""

from __future__ import annotations

import os
from typing import NamedTuple

from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.runs import SortedRuns
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.history import Event
from sk_rqvae.index.policies.moves import Moves

_REMEMBERED_SAVES = 1000
_REMEMBERED_PLACES = 8


class Base(NamedTuple):
    """What a file held, as far as a merge has to know what changed since.

    Attributes
    ----------
    name : str
        Of the file.
    n_rows : int
        The state begins with these rows.
    removed : SortedRuns
        Rows that were removed.
    moves : Moves
    digests : GrowingArray or None
    history : tuple of Event
    """

    name: str
    n_rows: int
    removed: SortedRuns
    moves: Moves
    digests: GrowingArray | None
    history: tuple[Event, ...]


class Place(NamedTuple):
    """What was last seen at a path.

    Attributes
    ----------
    path : str
        Absolute, without symbolic links.
    names : tuple of str
        The file that was there, and those of later saves to the path that failed: an
        interrupted save may have replaced the file.
    """

    path: str
    names: tuple[str, ...]


class Lineage(NamedTuple):
    """The saved files whose changes a state has.

    Attributes
    ----------
    saves : tuple of str
        Their names, the last one last. Only these are saved.
    places : tuple of Place
        What was last seen where, the last one last.
    bases : tuple of Base
        What the files of `places` held, the last one last, if the state still begins
        with their rows.
    """

    saves: tuple[str, ...]
    places: tuple[Place, ...]
    bases: tuple[Base, ...]

    @classmethod
    def none(cls) -> Lineage:
        """Descend from no file."""
        return cls((), (), ())

    def has_changes_of(self, name: str, path: PathLike) -> bool:
        """Whether a file at `path` may be replaced, because it has no other changes.

        Where a file was seen, an older one has another change: somebody went back to
        it. Elsewhere, an older one is a copy that was left behind.
        """
        place = self._place(path)
        return name in (self.saves if place is None else place.names)

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
        """Know the file that a save to `path` will write, should it be interrupted.

        The last of `saves` stays that of a file which is known to be there.
        """
        if not self.saves:
            return self
        saves = self.saves
        if base.name not in saves:
            saves = (*saves[:-1], base.name, saves[-1])
        place = self._place(path)
        if place is None or base.name in place.names:
            return self._replace(saves=saves)
        known = place._replace(names=(*place.names, base.name))
        places = tuple(known if each is place else each for each in self.places)
        return Lineage(saves, places, _with_base(self.bases, base))

    def at(self, base: Base, path: PathLike) -> Lineage:
        """Know that a file is at `path`."""
        saves = (*(name for name in self.saves if name != base.name), base.name)
        here = Place(os.path.realpath(path), (base.name,))
        others = (place for place in self.places if place.path != here.path)
        places = (*others, here)[-_REMEMBERED_PLACES:]
        names = {name for place in places for name in place.names}
        bases = _with_base(self.bases, base)
        return Lineage(
            saves[-_REMEMBERED_SAVES:],
            places,
            tuple(base for base in bases if base.name in names),
        )

    def merged_into(self, theirs: Lineage) -> Lineage:
        """Return the lineage of a state that begins with the rows of `theirs`."""
        bases = tuple(base for base in self.bases if base.name in theirs.saves)
        return Lineage(theirs.saves, self.places, bases)

    def _place(self, path: PathLike) -> Place | None:
        real = os.path.realpath(path)
        return next((place for place in self.places if place.path == real), None)


def _with_base(bases: tuple[Base, ...], base: Base) -> tuple[Base, ...]:
    return (*(other for other in bases if other.name != base.name), base)
