"""Types of arguments that name what a script reads, or where it writes."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path


def existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"must be a file that exists. Got {text}")
    return path


def existing_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ArgumentTypeError(f"must be a folder that exists. Got {text}")
    return path
