"""The history of an index: its changes, with their times."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, NamedTuple

from sk_rqvae import __version__

_HOUR = len("2026-01-01T00")
_COUNTED_TOGETHER = ("add", "remove", "update")


class Event(NamedTuple):
    """One change, or several of one kind within an hour of the clock.

    Attributes
    ----------
    action : str
        ``"fit"``, ``"read"``, ``"add"``, ``"remove"``, ``"update"``, ``"rebind"`` or
        ``"merge"``.
    first_revision, revision : int
        The index had these revisions after the first and the last change.
    n_changed : int
        Items that were added, removed or updated; of a merge, those of one side.
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


def read_history(events: Any) -> tuple[Event, ...]:
    """The history that a file holds; each event is a dict of its attributes.

    Raises
    ------
    TypeError, ValueError
        If it is no list of events, or has none.
    """
    if not isinstance(events, list) or not events:
        raise ValueError(f"its history must be a list of changes. Got {events!r:.80}")
    history = tuple(Event(**event) for event in events)
    for event in history:
        numbers = event.first_revision, event.revision, event.n_changed, event.n_items
        texts = event.action, event.time, event.version
        if not (
            all(type(number) is int for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and isinstance(event.fingerprint, str | None)
        ):
            raise ValueError(f"its history has the invalid change {event._asdict()}")
    return history


def changes_since(
    before: tuple[Event, ...], after: tuple[Event, ...]
) -> tuple[Event, ...]:
    """The changes in a history that an earlier state of it does not have."""
    pairs = zip(before, after, strict=False)
    n_common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    known = {event.action: event for event in before[n_common:]}
    revision = before[-1].revision
    later = []
    for event in after[n_common:]:
        if event in before:
            continue
        earlier = known.get(event.action)
        if earlier is None or event.first_revision > revision:
            later.append(event)
        else:  # later changes were counted with earlier ones
            n_changed = event.n_changed - earlier.n_changed
            later.append(
                event._replace(first_revision=revision + 1, n_changed=n_changed)
            )
    return tuple(later)


def recorded(
    history: tuple[Event, ...],
    action: str,
    *,
    n_changed: int,
    n_items: int,
    fingerprint: str | None,
    above: int = 0,
) -> tuple[Event, ...]:
    """Append a change to a history.

    An addition, removal or update in the same hour as one like it before, with the same
    model and release, is counted with it, so that changes of one item at a time do not
    fill the history. Only additions, removals and updates may lie between the two. The
    revision grows by one, or to one more than `above` if that is greater.
    """
    revision = max(above, history[-1].revision if history else 0) + 1
    time = datetime.now(UTC).isoformat(timespec="seconds")
    event = Event(
        action, revision, revision, n_changed, n_items, time, fingerprint, __version__
    )
    for place in reversed(range(len(history))):
        earlier = history[place]
        if event.action not in _COUNTED_TOGETHER or not _is_alike(earlier, event):
            break
        if earlier.action == action:
            together = event._replace(
                first_revision=earlier.first_revision,
                n_changed=earlier.n_changed + n_changed,
            )
            return (*history[:place], *history[place + 1 :], together)
    return (*history, event)


def _is_alike(earlier: Event, event: Event) -> bool:
    return (
        earlier.action in _COUNTED_TOGETHER
        and earlier.time[:_HOUR] == event.time[:_HOUR]
        and (earlier.fingerprint, earlier.version) == (event.fingerprint, event.version)
    )
