# SPDX-License-Identifier: Apache-2.0
"""Bad input: the class of the error, its errno, and that it names the file and the fault."""

import errno
import os
import resource
import textwrap
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Type

import pytest
from support import MIB, Mount, Target, random_bytes, run_python, safetensors_file

from fastsafetensor_3fs_reader import FileReaderInterface, MockFileReader, ThreeFSFileReader


@pytest.fixture(params=["c", "mock"])
def reader(request: pytest.FixtureRequest, mount: Mount, open_reader: Callable) -> Iterator[FileReaderInterface]:
    """Both backends: they must agree."""
    reader = open_reader(mount) if request.param == "c" else MockFileReader(str(mount.path))
    yield reader
    reader.close()


def assert_os_error(error: OSError, number: int, path: str) -> None:
    assert error.errno == number
    assert error.filename == path
    assert path in str(error)


# ------------------------------------------------------------------ a daemon in want


def test_a_daemon_without_descriptors_does_not_blame_the_client(mount: Mount, open_reader: Callable) -> None:
    pid = mount.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        with pytest.raises(OSError, match="the daemon has no room for another buffer or ring") as caught:
            open_reader(mount)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert caught.value.errno == errno.ENOMEM
    assert "as many as one may" not in mount.daemon.output()
    assert mount.daemon.stats()["violations_by_kind"]["bound"] == 0


# ------------------------------------------------------------------ files that cannot be opened


def test_no_such_file(mount: Mount, reader: FileReaderInterface) -> None:
    path = str(mount.path / "missing.safetensors")
    with pytest.raises(FileNotFoundError) as caught:
        reader.read_chunked(path, 0, 0, 10)
    assert_os_error(caught.value, errno.ENOENT, path)
    with pytest.raises(FileNotFoundError) as caught:
        reader.read_headers_batch([path])
    assert_os_error(caught.value, errno.ENOENT, path)
    assert not reader.has_fd(path)


def test_a_directory(mount: Mount, reader: FileReaderInterface) -> None:
    path = str(mount.path / "folder")
    (mount.backing / "folder").mkdir()
    for read in (lambda: reader.read_chunked(path, 0, 0, 10), lambda: reader.read_headers_batch([path])):
        with pytest.raises(IsADirectoryError) as caught:
            read()
        assert_os_error(caught.value, errno.EISDIR, path)


def test_a_file_where_a_directory_should_be(mount: Mount, reader: FileReaderInterface) -> None:
    path = mount.write("file", b"data") + "/below"
    with pytest.raises(NotADirectoryError) as caught:
        reader.read_chunked(path, 0, 0, 10)
    assert_os_error(caught.value, errno.ENOTDIR, path)


def test_a_name_that_is_too_long(mount: Mount, reader: FileReaderInterface) -> None:
    path = str(mount.path / ("n" * 300))
    with pytest.raises(OSError, match="n" * 300) as caught:
        reader.read_chunked(path, 0, 0, 10)
    assert_os_error(caught.value, errno.ENAMETOOLONG, path)


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
def test_no_permission(scratch: Path) -> None:
    path = scratch / "secret"
    path.write_bytes(safetensors_file(b"secret"))
    path.chmod(0)
    for folder in (scratch, scratch.parent):
        folder.chmod(0o755)
    script = textwrap.dedent(
        """
        import os, sys
        from fastsafetensor_3fs_reader import create_reader, mock, reader_c
        os.setuid(65534)
        for backend in ("c", "mock"):
            reader = create_reader(backend, mount_point="")
            for read in (lambda: reader.read_chunked(sys.argv[1], 0, 0, 1),
                         lambda: reader.read_headers_batch([sys.argv[1]])):
                try:
                    read()
                except PermissionError as e:
                    assert (e.errno, e.filename) == (13, sys.argv[1]), e
                else:
                    raise AssertionError("it was read")
        """
    )
    done = run_python("-c", script, str(path))
    assert done.returncode == 0, done.stderr


def test_paths_that_are_none(mount: Mount, reader: FileReaderInterface) -> None:
    for path in (None, 7.5, object()):
        with pytest.raises(TypeError):
            reader.read_chunked(path, 0, 0, 1)
    with pytest.raises(ValueError, match="null"):
        reader.read_chunked("a\0b", 0, 0, 1)
    with pytest.raises(TypeError):
        reader.read_headers_batch([None])


# ------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, -1, 1, 0), "file_offset"),
        ((0, 0, -1, 0), "total_length"),
        ((0, 0, 1, -1), "chunk_size"),
        ((-1, 0, 1, 0), "dev_ptr"),
        ((1 << 64, 0, 1, 0), "dev_ptr"),
    ],
)
def test_bad_arguments_of_a_read(mount: Mount, reader: FileReaderInterface, arguments: tuple, name: str) -> None:
    path = mount.write("file", b"data")
    with pytest.raises(ValueError, match=name) as caught:
        reader.read_chunked(path, *arguments)
    assert path in str(caught.value)


@pytest.mark.parametrize("huge", [1 << 64, 1 << 200, -(1 << 200)])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_huge_numbers_never_overflow(mount: Mount, open_reader: Callable, place: int, huge: int) -> None:
    path = mount.write("file", b"data")
    arguments = [0, 0, 1, 0]
    arguments[place] = huge
    with pytest.raises(ValueError, match=r"file: .* must be"):
        open_reader(mount).read_chunked(path, *arguments)


def test_a_range_beyond_all_offsets(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("file", b"data")
    with pytest.raises(ValueError, match=path):
        open_reader(mount).read_chunked(path, 0, (1 << 63) - 1, (1 << 63) - 1)


def test_numbers_must_be_integers(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("file", b"data")
    reader = open_reader(mount)
    for place in range(4):
        arguments: list = [0, 0, 1, 0]
        arguments[place] = 1.5
        with pytest.raises(TypeError):
            reader.read_chunked(path, *arguments)


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"entries": 0}, "entries"),
        ({"entries": -5}, "entries"),
        ({"entries": 1 << 40}, "entries"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"buffer_size": -1}, "buffer_size"),
        ({"buffer_size": 1 << 62}, "buffer_size"),
        ({"buffer_size": 1 << 80}, "buffer_size"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": 1e30}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"usrbio": "other"}, "usrbio"),
        ({"require": "speed"}, "require"),
    ],
)
def test_bad_settings(mount: Mount, keywords: Dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ThreeFSFileReader(str(mount.path), **keywords)


@pytest.mark.parametrize(("variable", "value"), [("TIMEOUT", "-3"), ("USRBIO", "x"), ("REQUIRE", "x")])
def test_bad_settings_in_the_environment(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"FST3FS_{variable}", value)
    with pytest.raises(ValueError, match=f"FST3FS_{variable}.*{value}"):
        ThreeFSFileReader(str(mount.path))


@pytest.mark.parametrize(
    ("name", "error", "number"),
    [("missing", FileNotFoundError, errno.ENOENT), ("file/below", NotADirectoryError, errno.ENOTDIR)],
)
def test_a_mount_point_that_does_not_exist(scratch: Path, name: str, error: Type[OSError], number: int) -> None:
    (scratch / "file").touch()
    with pytest.raises(error) as caught:
        ThreeFSFileReader(str(scratch / name))
    assert_os_error(caught.value, number, str(scratch / name))


def test_required_usrbio_that_cannot_be(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=str(scratch)) as caught:
        ThreeFSFileReader(str(scratch), require="usrbio")
    assert caught.value.errno == errno.ENOTSUP
    monkeypatch.setenv("FST3FS_REQUIRE", "usrbio")
    with pytest.raises(OSError, match="mount point") as caught:
        ThreeFSFileReader("")
    assert caught.value.errno == errno.ENOTSUP
    # The argument wins.
    ThreeFSFileReader("", require="").close()


def test_required_usrbio_and_a_file_off_the_mount(mount: Mount, open_reader: Callable, scratch: Path) -> None:
    path = scratch / "local"
    path.write_bytes(b"data")
    with pytest.raises(OSError, match="mount") as caught:
        open_reader(mount).read_chunked(path, 0, 0, 4)
    assert_os_error(caught.value, errno.ENOTSUP, str(path))


# ------------------------------------------------------------------ the end of the file


def test_past_the_end(mount: Mount, reader: FileReaderInterface) -> None:
    data = random_bytes(100_000)
    path = mount.write("file", data)
    target = Target(200_000)
    for offset, length in [(0, 200_000), (99_999, 5), (100_000, 5), (100_001, 5), (1 << 40, 5), (1 << 62, 5)]:
        target.reset()
        expected = data[offset : offset + length]
        assert reader.read_chunked(path, target.address, offset, length) == len(expected)
        target.check(expected)


# ------------------------------------------------------------------ batches


def test_one_failing_range_of_many(mount: Mount, reader: FileReaderInterface) -> None:
    data = random_bytes(MIB)
    paths = [mount.write(f"m-{i}", data) for i in range(6)]
    paths[3] = str(mount.path / "missing")
    targets = [Target(MIB) for _ in paths]
    with pytest.raises(FileNotFoundError) as caught:
        reader.read_many([(path, t.address, 0, MIB) for path, t in zip(paths, targets)])
    assert caught.value.index == 3
    assert_os_error(caught.value, errno.ENOENT, paths[3])
    for i, target in enumerate(targets):
        target.check(b"" if i == 3 else data)


def test_a_bad_request_of_many(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("m", b"data")
    reader = open_reader(mount)
    assert reader.read_many([]) == []
    with pytest.raises(ValueError, match="file_offset"):
        reader.read_many([(path, 0, 0, 1), (path, 0, -1, 1)])
    with pytest.raises(TypeError):
        reader.read_many([(path, 0, 0)])
    with pytest.raises(TypeError):
        reader.read_many([7])
