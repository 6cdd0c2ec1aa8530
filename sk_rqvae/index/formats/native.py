"""The file format of an index: a JSON header and raw arrays; no pickle.

====================  =================================================================
bytes                 content
====================  =================================================================
8                     ``SEMIDIX`` and a newline
4                     format version, 2, little-endian
8                     length of the header, little-endian
length of the header  JSON in UTF-8
32                    SHA-256 of all the bytes before
to a multiple of 64   zeros
the rest              the arrays, little-endian, in C order, each followed by zeros to
                      a multiple of 64
====================  =================================================================

The header's ``"arrays"`` lists ``name``, ``dtype``, ``shape``, ``offset`` and
``sha256`` of each array. Offsets count from the first array. The checksums are of an
array and the zeros after it.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.regular_files import open_regular_file

PathLike = str | os.PathLike[str]

FORMAT_VERSION = 2

_MAGIC = b"SEMIDIX\n"
_PREAMBLE = struct.Struct("<8sIQ")
_CHECKSUM_BYTES = hashlib.sha256().digest_size
_ALIGNMENT = 64
_DTYPES = frozenset({"|u1", "<u2", "<u4", "<i8", "<f8"})
_MAX_COLUMNS = 4096


def write_file(
    path: PathLike, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write a header and arrays to `path`, atomically.

    Raises
    ------
    ValueError
        If an array has more columns than `read_file` takes.
    """
    stored = {name: _storable(array) for name, array in arrays.items()}
    for name, array in stored.items():
        if max(array.shape[1:], default=0) > _MAX_COLUMNS:
            raise ValueError(
                f"arrays must have at most {_MAX_COLUMNS} columns to be saved. Got "
                f"{array.shape[1]} in {name!r}: the IDs have too many levels."
            )
    listing = []
    offset = 0
    for name, array in stored.items():
        listing.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": array.shape,
                "offset": offset,
                "sha256": _checksum(_bytes_of(array)),
            }
        )
        offset += _aligned(array.nbytes)
    text = json.dumps({**header, "arrays": listing}).encode()
    head = _PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(text)) + text
    head += hashlib.sha256(head).digest()
    with atomic_write(path) as file:
        file.write(head.ljust(_aligned(len(head)), b"\0"))
        for array in stored.values():
            file.write(_bytes_of(array))
            file.write(_padding(array.nbytes))


def read_file(
    path: PathLike, *, mapped: bool = False
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write_file` wrote.

    With `mapped`, arrays are read from the file when they are used, and their checksums
    are not compared.

    Raises
    ------
    ValueError
        If the file is of another kind or version, truncated or changed.
    """
    with open_regular_file(path) as file:
        if mapped and os.fstat(file.fileno()).st_size:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            content = memoryview(file.read())
    header, end = _parsed_header(path, content)
    try:
        arrays = {}
        start = expected = _aligned(end)
        for entry in header.pop("arrays"):
            array = _array(path, entry, content, start, mapped)
            arrays[str(entry["name"])] = array
            expected = max(expected, start + entry["offset"] + _aligned(array.nbytes))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has a header that does not describe its arrays."
        ) from error
    if any(content[end:start]):
        raise ValueError(f"{path} is corrupt: bytes {end} to {start} must be zeros.")
    if len(content) != expected:
        raise ValueError(
            f"{path} must end at byte {expected}, with its last array. Got "
            f"{len(content)} bytes."
        )
    return header, arrays


def read_header(path: PathLike) -> dict[str, Any] | None:
    """Read the header alone; None if there is no index file at `path`."""
    if not Path(path).exists():
        return None
    with open_regular_file(path) as file:
        start = file.read(_PREAMBLE.size)
        if start[: len(_MAGIC)] != _MAGIC:
            return None
        length = _PREAMBLE.unpack(start)[2] if len(start) == _PREAMBLE.size else 0
        rest = file.read(min(length + _CHECKSUM_BYTES, os.fstat(file.fileno()).st_size))
    return _parsed_header(path, memoryview(start + rest))[0]


def _parsed_header(path: PathLike, content: memoryview) -> tuple[dict[str, Any], int]:
    """Return the header, and where its checksum ends."""
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError(
            f"{path} is not an index file. Got {bytes(content[:8])!r} as its first "
            f"bytes, expected {_MAGIC!r}."
        )
    if len(content) < _PREAMBLE.size + _CHECKSUM_BYTES:
        raise ValueError(f"{path} is truncated. Got {len(content)} bytes.")
    _, version, length = _PREAMBLE.unpack_from(content)
    if version != FORMAT_VERSION:
        age = "a newer" if version > FORMAT_VERSION else "an older"
        raise ValueError(
            f"{path} was written by {age} sk_rqvae. Got format version {version}, "
            f"expected {FORMAT_VERSION}."
        )
    end = _PREAMBLE.size + length
    if end + _CHECKSUM_BYTES > len(content):
        raise ValueError(
            f"{path} is truncated. Got {len(content)} bytes, and a header that ends "
            f"after {end}."
        )
    if hashlib.sha256(content[:end]).digest() != content[end : end + _CHECKSUM_BYTES]:
        raise ValueError(
            f"{path} is corrupt: its header, bytes {_PREAMBLE.size} to {end}, does not "
            "match its checksum."
        )
    try:
        header = json.loads(bytes(content[_PREAMBLE.size : end]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has a header that is not JSON: {error}.") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a header that is no JSON object.")
    return header, end + _CHECKSUM_BYTES


def _array(
    path: PathLike,
    entry: Mapping[str, Any],
    content: memoryview,
    start: int,
    mapped: bool,
) -> NDArray[Any]:
    """Make an array of the bytes that an entry of the header names."""
    name, dtype, shape, offset = (
        entry[k] for k in ("name", "dtype", "shape", "offset")
    )
    if dtype not in _DTYPES:
        raise ValueError(
            f"{path} must have a dtype of {sorted(_DTYPES)} for array {name!r}. Got "
            f"{dtype!r}."
        )
    are_counts = all(type(n) is int and 0 <= n < 2**63 for n in [*shape, offset])
    if (
        not are_counts
        or len(shape) not in (1, 2)
        or not all(1 <= n <= _MAX_COLUMNS for n in shape[1:])
    ):
        raise ValueError(
            f"{path} must have one or two dimensions and 1 to {_MAX_COLUMNS} columns "
            f"for array {name!r}. Got shape {shape}, offset {offset}."
        )
    first = start + offset
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    last = first + _aligned(n_bytes)
    if last > len(content):
        raise ValueError(
            f"{path} is truncated: array {name!r} ends at byte {last}. Got "
            f"{len(content)} bytes."
        )
    part = content[first:last]
    if not mapped and _checksum(part) != entry["sha256"]:
        raise ValueError(
            f"{path} is corrupt: array {name!r}, bytes {first} to {last}, does not "
            "match its checksum."
        )
    return np.frombuffer(part[:n_bytes], dtype=np.dtype(dtype)).reshape(shape)


def _checksum(content: memoryview) -> str:
    digest = hashlib.sha256(content)
    digest.update(_padding(len(content)))
    return digest.hexdigest()


def _padding(length: int) -> bytes:
    return b"\0" * (_aligned(length) - length)


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "S":
        array = np.ascontiguousarray(array)
        array = array.view(np.uint8).reshape(len(array), array.dtype.itemsize)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
