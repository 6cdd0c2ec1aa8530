"""A disk that is full, for the files of this process."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def largest_file(n_bytes):
    """No file of this process can become larger, as on a disk that is full."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
