"""Draw progress bars while a command works."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from sk_rqvae._sklearn.progress_bars import bars_asked_for


def bars_unless(quiet: bool) -> AbstractContextManager[None]:
    """Draw bars on a terminal for what takes long, unless the user wants none."""
    return nullcontext() if quiet else bars_asked_for()
