"""Terminals to write to."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager


class Terminal:
    """A pseudo-terminal, which keeps what is written to `file`."""

    def __init__(self):
        import pty

        self._master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w", buffering=1, encoding="utf-8")
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                read = os.read(self._master, 2**16)
            except OSError:  # what Linux says when nobody can write any more
                return
            if not read:
                return
            self._written += read

    def close(self):
        """Close it; `written` is complete then."""
        self.file.close()
        self._reader.join()
        os.close(self._master)

    @property
    def written(self):
        """All that was written."""
        return self._written.decode()


@contextmanager
def terminal_as(name):
    """Let a stream of `sys` be a terminal."""
    terminal = Terminal()
    before = getattr(sys, name)
    # Not a fixture: pytest puts its own streams in place between fixtures and test.
    setattr(sys, name, terminal.file)
    try:
        yield terminal
        assert getattr(sys, name) is terminal.file, "another stream was left behind"
    finally:
        setattr(sys, name, before)
        terminal.close()
