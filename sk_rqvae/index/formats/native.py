"""The file format of an index: a JSON header, raw arrays, a checksum; no pickle.

====================  =================================================================
bytes                 content
====================  =================================================================
8                     ``SEMIDIX`` and a newline
4                     format version, little-endian
8                     length of the header, little-endian
length of the header  JSON in UTF-8; ``"arrays"`` lists name, dtype and shape of each
the rest but 32       the arrays, little-endian, in C order, in the order of the list
32                    SHA-256 of all the bytes before
====================  =================================================================
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._persistence.atomic import atomic_write

FORMAT_VERSION = 1

_MAGIC = b"SEMIDIX\n"
_PREAMBLE = struct.Struct("<8sIQ")
_CHECKSUM_BYTES = hashlib.sha256().digest_size
_DTYPES = frozenset({"|u1", "<u2", "<u4", "<i8", "<f8"})


def write_file(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write a header and arrays to `path`, atomically."""
    stored = {name: _storable(array) for name, array in arrays.items()}
    listing = [
        {"name": name, "dtype": array.dtype.str, "shape": array.shape}
        for name, array in stored.items()
    ]
    text = json.dumps({**header, "arrays": listing}).encode()
    checksum = hashlib.sha256()
    with atomic_write(path) as file:
        preamble = _PREAMBLE.pack(_MAGIC, FORMAT_VERSION, len(text))
        parts: list[bytes | memoryview] = [preamble, text]
        parts += map(_bytes_of, stored.values())
        for part in parts:
            checksum.update(part)
            file.write(part)
        file.write(checksum.digest())


def read_file(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what `write_file` wrote.

    Raises
    ------
    ValueError
        If the file is of another kind, of a newer version, truncated or changed.
    """
    content = memoryview(Path(path).read_bytes())
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError(
            f"{path} is not an index file. Got {bytes(content[:8])!r} at its start, "
            f"expected {_MAGIC!r}."
        )
    if len(content) < _PREAMBLE.size + _CHECKSUM_BYTES:
        raise ValueError(f"{path} is truncated. Got {len(content)} bytes.")
    _, version, length = _PREAMBLE.unpack_from(content)
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by a newer sk_rqvae. Got format version {version}, "
            f"expected at most {FORMAT_VERSION}."
        )
    end = len(content) - _CHECKSUM_BYTES
    if hashlib.sha256(content[:end]).digest() != content[end:]:
        raise ValueError(
            f"{path} is corrupt or truncated. Got content that does not match its "
            "checksum."
        )
    start = _PREAMBLE.size + length
    try:
        header = json.loads(bytes(content[_PREAMBLE.size : start]))
        return header, _unpacked(header.pop("arrays"), content[:end], start)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} has a header that does not fit its arrays: {error}."
        ) from error


def small_unsigned(array: NDArray[np.int64]) -> NDArray[Any]:
    """Cast non-negative integers to the smallest type that holds them."""
    top = int(array.max(initial=0))
    for dtype in ("|u1", "<u2", "<u4"):
        if top <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array


def packed_strings(strings: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Turn strings to their UTF-8 bytes and the number of bytes of each."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    text = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    return {"item_text": text, "item_lengths": small_unsigned(lengths)}


def unpacked_strings(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Undo `packed_strings`."""
    text = arrays["item_text"].tobytes()
    ends = np.cumsum(arrays["item_lengths"], dtype=np.int64)
    starts = ends - arrays["item_lengths"]
    return [
        text[start:end].decode("utf-8", "surrogatepass")
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _unpacked(
    listing: list[dict[str, Any]], content: memoryview, start: int
) -> dict[str, NDArray[Any]]:
    arrays = {}
    for entry in listing:
        if entry["dtype"] not in _DTYPES:
            raise ValueError(
                f"dtype must be one of {sorted(_DTYPES)}. Got {entry['dtype']!r}"
            )
        flat = np.frombuffer(
            content,
            dtype=np.dtype(entry["dtype"]),
            count=math.prod(entry["shape"]),
            offset=start,
        )
        arrays[entry["name"]] = flat.reshape(entry["shape"])
        start += flat.nbytes
    return arrays
