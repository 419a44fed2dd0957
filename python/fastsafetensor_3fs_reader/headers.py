# SPDX-License-Identifier: Apache-2.0
"""The header of a safetensors file: 8 bytes of length, little-endian, then that much JSON."""

from typing import Callable

from .interface import Header

LENGTH_BYTES = 8
#: The format's own limit.
MAX_JSON_BYTES = 100_000_000


def read_header(path: str, file_size: int, read: Callable[[int, int], bytes]) -> Header:
    """The header of an open file, whose bytes ``read(offset, length)`` gives. ValueError names file and length."""
    if file_size < LENGTH_BYTES:
        raise ValueError(f"{path}: {file_size} bytes are too short for a safetensors file")
    json_bytes = int.from_bytes(read(0, LENGTH_BYTES), "little")
    if json_bytes > MAX_JSON_BYTES:
        raise ValueError(f"{path}: a header of {json_bytes} bytes is over the limit of {MAX_JSON_BYTES}")
    if json_bytes > file_size - LENGTH_BYTES:
        raise ValueError(f"{path}: a header of {json_bytes} bytes does not fit into a file of {file_size}")
    raw = read(LENGTH_BYTES, json_bytes)
    if not raw.startswith(b"{"):
        raise ValueError(f"{path}: a header of {json_bytes} bytes that does not start with '{{'")
    try:
        return raw.decode("utf-8"), LENGTH_BYTES + json_bytes, file_size
    except UnicodeDecodeError as e:
        raise ValueError(f"{path}: a header of {json_bytes} bytes that is not UTF-8: {e.reason}") from None
