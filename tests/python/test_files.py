# SPDX-License-Identifier: Apache-2.0
"""Files: many, small, open, replaced, closed."""

import errno
import os
from pathlib import Path
from typing import Callable

import pytest
from support import MIB, Mount, Target, random_bytes, safetensors_file


def test_many_small_files(mount: Mount, open_reader: Callable) -> None:
    contents = [random_bytes(1 + 37 * i, seed=i) for i in range(500)]
    paths = [mount.write(f"{i % 10}/small-{i}", data) for i, data in enumerate(contents)]
    targets = [Target(len(data)) for data in contents]
    reader = open_reader(mount)
    requests = [(path, t.address, 0, t.size) for path, t in zip(paths, targets)]
    assert reader.read_many(requests) == [len(data) for data in contents]
    for target, data in zip(targets, contents):
        target.check(data)


def test_64_files_open(mount: Mount, open_reader: Callable) -> None:
    data = [safetensors_file(random_bytes(10_000, seed=i)) for i in range(64)]
    paths = [mount.write(f"open-{i}", d) for i, d in enumerate(data)]
    reader = open_reader(mount)
    headers = reader.read_headers_batch(paths)
    assert reader.info()["open_files"] == 64
    assert all(reader.has_fd(path) for path in paths)
    target = Target(10_000)
    for path, whole in zip(paths, data):
        begin = headers[path][1]
        assert reader.read_chunked(path, target.address, begin, 10_000) == 10_000
        target.check(whole[begin:])
    assert reader.info()["open_files"] == 64


def test_has_fd_tells_what_is_open(mount: Mount, open_reader: Callable) -> None:
    path, other = mount.write("a", safetensors_file()), mount.write("b", b"b")
    reader = open_reader(mount)
    assert not reader.has_fd(path)
    reader.read_headers_batch([path])
    assert reader.has_fd(path)
    assert not reader.has_fd(other)
    reader.read_chunked(other, 0, 0, 1)
    assert reader.has_fd(other)
    reader.close()
    assert not reader.has_fd(path)
    assert not reader.has_fd(other)


def test_paths_may_be_bytes_or_path_objects(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("a", safetensors_file(b"xyz"))
    reader = open_reader(mount)
    for form in (path, os.fsencode(path), Path(path)):
        target = Target(3)
        header = reader.read_headers_batch([form])[form]
        assert reader.read_chunked(form, target.address, header[1], 3) == 3
        target.check(b"xyz")
    assert reader.info()["open_files"] == 1


@pytest.mark.parametrize("name", [b"caf\xc3\xa9 \xe6\xa8\xa1\xe5\x9e\x8b", b"not-utf8-\xff\xfe", b"new\nline", b"%s%n"])
def test_names_of_any_bytes(mount: Mount, open_reader: Callable, name: bytes) -> None:
    data = random_bytes(5000)
    path = mount.write(os.fsdecode(name), data)
    target = Target(5000)
    assert open_reader(mount).read_chunked(path, target.address, 0, 5000) == 5000
    target.check(data)


def test_a_replaced_file_is_noticed(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--attr-timeout-s", "0")
    old, new = random_bytes(100_000, seed=1), random_bytes(60_000, seed=2)
    path = mount.write("model", old)
    reader = open_reader(mount)
    target = Target(100_000)
    assert reader.read_chunked(path, target.address, 0, 100_000) == 100_000
    target.check(old)
    mount.write("model.new", new)
    os.rename(f"{path}.new", path)
    target.reset()
    assert reader.read_chunked(path, target.address, 0, 100_000) == 60_000
    target.check(new)
    assert reader.info()["open_files"] == 1


def test_a_file_replaced_between_header_and_data(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--attr-timeout-s", "0")
    path = mount.write("model", safetensors_file(b"old"))
    reader = open_reader(mount)
    begin = reader.read_headers_batch([path])[path][1]
    mount.write("model.new", safetensors_file(b"new"))
    os.rename(f"{path}.new", path)
    target = Target(3)
    assert reader.read_chunked(path, target.address, begin, 3) == 3
    target.check(b"new")


def test_a_removed_file_is_noticed(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--attr-timeout-s", "0")
    path = mount.write("model", b"data")
    reader = open_reader(mount)
    assert reader.read_chunked(path, 0, 0, 4) == 4
    os.unlink(path)
    with pytest.raises(FileNotFoundError, match="model"):
        reader.read_chunked(path, 0, 0, 4)


def test_a_file_that_grows(serve: Callable, open_reader: Callable) -> None:
    mount = serve("--attr-timeout-s", "0")
    path = mount.write("log", b"12345")
    reader = open_reader(mount)
    assert reader.read_chunked(path, 0, 0, 100) == 5
    with open(path, "ab") as file:
        file.write(b"67890")
    target = Target(100)
    assert reader.read_chunked(path, target.address, 0, 100) == 10
    target.check(b"1234567890")


def test_closing_twice_and_reading_again(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(2 * MIB)
    path = mount.write("data", data)
    reader = open_reader(mount)
    for _ in range(3):
        target = Target(len(data))
        assert reader.read_chunked(path, target.address, 0, len(data)) == len(data)
        target.check(data)
        reader.close()
        reader.close()
        assert mount.registrations() == 0
        assert (reader.iov_base, reader.iov_length) == (0, 0)
        assert not reader.has_fd(path)


def test_a_reader_is_a_context_manager(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("data", b"data")
    with open_reader(mount) as reader:
        assert reader.read_chunked(path, 0, 0, 4) == 4
        assert mount.registrations() > 0
    assert mount.registrations() == 0


@pytest.mark.parametrize("island", [0, 2 * MIB])
def test_a_hole_is_an_error_and_not_zeros(mount: Mount, open_reader: Callable, island: int) -> None:
    """On 3FS a hole is a chunk that was never written, or was lost."""
    path = mount.write("sparse", b"")
    with open(mount.backing / "sparse", "r+b") as file:
        file.truncate(3 * MIB)
        file.seek(island)
        file.write(b"island")
    with pytest.raises(OSError, match="hole") as caught:
        open_reader(mount).read_chunked(path, 0, 0, 3 * MIB)
    assert caught.value.errno in (errno.EIO, errno.ENODATA)
    assert caught.value.filename == path
