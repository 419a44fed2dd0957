# SPDX-License-Identifier: Apache-2.0
"""Headers of safetensors files, in batches."""

import json
import struct
from pathlib import Path
from typing import Callable, Dict, Iterator

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import MIB, Mount, safetensors_file

from fastsafetensor_3fs_reader import FileReaderInterface, MockFileReader

LIMIT = 100_000_000


@pytest.fixture(params=["c", "mock"])
def reader(request: pytest.FixtureRequest, mount: Mount, open_reader: Callable) -> Iterator[FileReaderInterface]:
    """Both backends: they must agree."""
    reader = open_reader(mount) if request.param == "c" else MockFileReader(str(mount.path))
    yield reader
    reader.close()


def length_and(length: int, rest: bytes) -> bytes:
    return struct.pack("<Q", length) + rest


def test_headers_are_those_of_the_file(mount: Mount, reader: FileReaderInterface) -> None:
    save_file({"a": np.arange(1000, dtype=np.float32), "b": np.zeros((0, 3))}, mount.backing / "m", {"k": "v\u6a21"})
    path, raw = str(mount.path / "m"), (mount.backing / "m").read_bytes()
    length = 8 + struct.unpack("<Q", raw[:8])[0]
    assert reader.read_headers_batch([path]) == {path: (raw[8:length].decode(), length, len(raw))}
    assert reader.has_fd(path)


@pytest.mark.parametrize("threads", [1, 2, 8, 100])
def test_a_batch_of_many(mount: Mount, reader: FileReaderInterface, threads: int) -> None:
    expected: Dict[str, int] = {}
    for i in range(200):
        data = safetensors_file(b"x" * i, __metadata__={"n": "y" * (i * 37)})
        expected[mount.write(f"m-{i}", data)] = len(data)
    headers = reader.read_headers_batch(list(expected), num_threads=threads)
    assert list(headers) == list(expected)
    for path, (text, length, size) in headers.items():
        assert size == expected[path]
        assert length == 8 + len(text.encode())
        assert json.loads(text)["t"]["shape"] == [size - length]


def test_no_paths(reader: FileReaderInterface) -> None:
    assert reader.read_headers_batch([]) == {}


def test_the_same_path_twice(mount: Mount, reader: FileReaderInterface) -> None:
    path = mount.write("m", safetensors_file(b"abc"))
    assert list(reader.read_headers_batch([path, path])) == [path]


def test_paths_from_a_generator(mount: Mount, reader: FileReaderInterface) -> None:
    paths = [mount.write(f"m-{i}", safetensors_file()) for i in range(3)]
    assert list(reader.read_headers_batch(p for p in paths)) == paths


def test_a_long_header(mount: Mount, reader: FileReaderInterface) -> None:
    path = mount.write("m", safetensors_file(b"", __metadata__={"long": "z" * (5 * MIB)}))
    text, length, size = reader.read_headers_batch([path])[path]
    assert length == size == 8 + len(text)
    assert json.loads(text)["__metadata__"]["long"] == "z" * (5 * MIB)


BAD = {
    "empty": (b"", "0"),
    "seven bytes": (b"\x02\0\0\0\0\0\0", "7"),
    "beyond the file": (length_and(100, b"{}"), "100"),
    "one beyond the file": (length_and(3, b"{}"), "3"),
    "huge": (length_and(2**64 - 1, b"{}"), str(2**64 - 1)),
    "wraps around": (length_and(2**64 - 8, b"{}"), str(2**64 - 8)),
    "no brace": (length_and(4, b"null"), "4"),
    "space before the brace": (length_and(3, b" {}"), "3"),
    "no JSON": (length_and(0, b""), "0"),
    "not UTF-8": (length_and(7, b'{"\xff":0}'), "7"),
    "UTF-8 cut short": (length_and(3, b"{\xe6\xa8"), "3"),
    "surrogate in UTF-8": (length_and(5, b"{\xed\xa0\x80}"), "5"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_header_names_file_and_length(mount: Mount, reader: FileReaderInterface, name: str) -> None:
    content, length = BAD[name]
    path = mount.write(name, content)
    with pytest.raises(ValueError, match=length) as caught:
        reader.read_headers_batch([path])
    assert path in str(caught.value)
    assert caught.value.index == 0


def test_a_header_over_the_limit(mount: Mount, reader: FileReaderInterface) -> None:
    path = mount.write("m", length_and(LIMIT + 1, b"{"))
    with open(mount.backing / "m", "r+b") as file:
        file.truncate(LIMIT + 1000)
    with pytest.raises(ValueError, match=str(LIMIT + 1)) as caught:
        reader.read_headers_batch([path])
    assert path in str(caught.value)


def test_one_bad_file_of_a_batch(mount: Mount, reader: FileReaderInterface, scratch: Path) -> None:
    good = [mount.write(f"good-{i}", safetensors_file(b"abc")) for i in range(20)]
    bad, missing = mount.write("bad", b"junk"), str(mount.path / "missing")
    with pytest.raises(ValueError, match="bad") as value_error:
        reader.read_headers_batch([*good[:10], bad, *good[10:], missing])
    assert value_error.value.index == 10
    with pytest.raises(FileNotFoundError) as os_error:
        reader.read_headers_batch([*good[:5], missing, *good[5:], bad])
    assert (os_error.value.index, os_error.value.filename) == (5, missing)
    # What was opened stays usable.
    begin = len(safetensors_file(b"abc")) - 3
    assert all(reader.has_fd(path) for path in good[:5])
    assert all(reader.read_chunked(path, 0, begin, 3) == 3 for path in good)


@pytest.mark.parametrize("threads", [0, -1, 2**70])
def test_bad_num_threads(mount: Mount, open_reader: Callable, threads: int) -> None:
    with pytest.raises(ValueError, match="num_threads"):
        open_reader(mount).read_headers_batch([mount.write("m", safetensors_file())], num_threads=threads)
