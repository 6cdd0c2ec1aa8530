"""The history of an index: its changes, with their times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sk_rqvae import __version__

_HOUR = len("2026-01-01T00")


class Event(NamedTuple):
    """One change, or several additions within an hour.

    Attributes
    ----------
    action : str
        ``"fit"``, ``"read"``, ``"add"``, ``"remove"``, ``"update"``, ``"rebind"`` or
        ``"merge"``.
    first_revision, revision : int
        The index had these revisions after the first and the last change.
    n_changed : int
        Items that were added, removed or updated.
    n_items : int
        Items of the index afterwards.
    time : str
        Of the last change, ISO 8601, UTC.
    fingerprint : str or None
        Of the model that the codes were from.
    version : str
        The release of this package that made the change.
    """

    action: str
    first_revision: int
    revision: int
    n_changed: int
    n_items: int
    time: str
    fingerprint: str | None
    version: str


def recorded(
    history: tuple[Event, ...],
    action: str,
    *,
    n_changed: int,
    n_items: int,
    fingerprint: str | None,
) -> tuple[Event, ...]:
    """Append a change to a history.

    An addition in the same hour as the one before, with the same model and release, is
    counted with it, so that adding items one at a time does not fill the history.
    """
    revision = history[-1].revision + 1 if history else 1
    time = datetime.now(UTC).isoformat(timespec="seconds")
    event = Event(
        action, revision, revision, n_changed, n_items, time, fingerprint, __version__
    )
    if not history:
        return (event,)
    last = history[-1]
    same = (
        last.action == action == "add"
        and last.time[:_HOUR] == time[:_HOUR]
        and (last.fingerprint, last.version) == (fingerprint, __version__)
    )
    if not same:
        return (*history, event)
    together = event._replace(
        first_revision=last.first_revision, n_changed=last.n_changed + n_changed
    )
    return (*history[:-1], together)
