"""A folder for files that are mapped into memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder where ``TMPDIR`` says, and remove it at the end.

    Windows does not remove a file that is still mapped; it stays there then.
    """
    is_windows = sys.platform == "win32"
    with TemporaryDirectory(
        prefix="sk-rqvae-", ignore_cleanup_errors=is_windows
    ) as name:
        yield Path(name)
