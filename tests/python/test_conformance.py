# SPDX-License-Identifier: Apache-2.0
"""The same tests over every backend and every way to a file, so that they cannot drift apart."""

import ctypes
import errno
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from support import DATA_SIZE as SIZE
from support import KIB, MIB, Mount, Target, UntilItFails, around, eventually, random_bytes, safetensors_file

from fastsafetensor_3fs_reader import FileReaderInterface, create_reader

BUFFER = MIB


class Way(NamedTuple):
    """A backend, its keywords, and what its info() must then say: a silent fallback would pass everything."""

    backend: str
    keywords: Dict[str, Any]
    transport: str
    client: str
    usrbio: bool


WAYS = {
    "c-builtin": Way("c", {"usrbio": "builtin", "require": "usrbio"}, "usrbio", "built-in", True),
    "c-sdk": Way("c", {"usrbio": "sdk", "require": "usrbio"}, "sdk", "libhf3fs_api_shared.so", True),
    "c-posix": Way("c", {"mount_point": ""}, "posix", "", False),
    "python-usrbio": Way("python", {"require": "usrbio"}, "usrbio", "hf3fs_fuse/io.py", True),
    "python-posix": Way("python", {}, "posix", "", False),
    "mock": Way("mock", {}, "posix", "", False),
}
USRBIO = [name for name, way in WAYS.items() if way.usrbio]
CHECKING = [name for name in WAYS if name != "mock"]  # the mock reader takes what means nothing to it


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


_numbers = itertools.count()


def unique(name: str) -> str:
    """The kernel remembers what it knows of a name on a mount for a while."""
    return f"{name}-{next(_numbers)}"


Make = Callable[..., FileReaderInterface]


@pytest.fixture
def make(way: Way, sdk: str, hf3fs_fuse: Callable[[bool], None], serve: Callable[..., Mount]) -> Iterator[Make]:
    """Makes readers, and proves of each that it went the way it should."""
    readers: List[FileReaderInterface] = []
    hf3fs_fuse(way.usrbio)

    def make(mount: Mount, **keywords: Any) -> FileReaderInterface:
        arguments = {"mount_point": str(mount.path), "buffer_size": BUFFER, **way.keywords, **keywords}
        reader = create_reader(way.backend, **arguments)
        readers.append(reader)
        info = reader.info()
        assert (info["backend"], info["transport"]) == (way.backend, way.transport)
        assert str(info["client"]).endswith(way.client)
        return reader

    yield make
    for reader in readers:
        reader.close()


@pytest.fixture
def reader(make: Make, module_mount: Mount) -> FileReaderInterface:
    return make(module_mount)


# ------------------------------------------------------------------ bytes


def edges() -> Iterator[Tuple[int, int]]:
    for offset in (0, 1, 123_457, *around(BUFFER), *around(SIZE), SIZE + MIB):
        for length in (0, 1, 4096, *around(64 * KIB), *around(BUFFER), SIZE, SIZE + 1):
            yield offset, length


@pytest.mark.parametrize("chunk_size", [0, 65_537, 16 << 30])
def test_every_edge(reader: FileReaderInterface, path: str, data: bytes, chunk_size: int) -> None:
    target = Target(SIZE)
    for offset, length in edges():
        target.reset()
        expected = data[offset : offset + length]
        assert reader.read_chunked(path, target.address, offset, length, chunk_size) == len(expected)
        target.check(expected)


@pytest.mark.parametrize("keywords", [{"entries": 1}, {"entries": 3, "buffer_size": 10_000}, {"io_depth": 7}])
@pytest.mark.parametrize("pipelined", [True, False])
def test_settings_change_no_byte(
    make: Make, module_mount: Mount, path: str, data: bytes, keywords: Dict[str, Any], pipelined: bool
) -> None:
    reader, target = make(module_mount, **keywords), Target(SIZE)
    assert reader.read_chunked(path, target.address, 5, SIZE, 0, pipelined) == SIZE - 5
    target.check(data[5:])


def test_nowhere(reader: FileReaderInterface, path: str) -> None:
    assert reader.read_chunked(path, 0, 7, SIZE) == SIZE - 7


def test_into_the_readers_own_buffer(reader: FileReaderInterface, path: str, data: bytes) -> None:
    assert reader.iov_length >= BUFFER
    for at, length in ((0, BUFFER), (5, 300_000), (BUFFER - 1, 1)):
        assert reader.read_chunked(path, reader.iov_base + at, 11, length) == length
        assert ctypes.string_at(reader.iov_base + at, length) == data[11 : 11 + length]
    with pytest.raises(ValueError, match="data"):
        reader.read_chunked(path, reader.iov_base + 5, 0, reader.iov_length)


def test_many_threads(reader: FileReaderInterface, path: str, data: bytes) -> None:
    def read(number: int) -> None:
        target = Target(400_000)
        for offset in range(number * 1000, SIZE - 400_000, 700_001):
            assert reader.read_chunked(path, target.address, offset, 400_000) == 400_000
            target.check(data[offset : offset + 400_000])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(read, range(6)))


def test_many_ranges(reader: FileReaderInterface, path: str, data: bytes) -> None:
    targets = [Target(100_000) for _ in range(4)]
    requests = [(path, target.address, number * 77_777, 100_000) for number, target in enumerate(targets)]
    assert reader.read_many(requests) == [100_000] * 4
    for number, target in enumerate(targets):
        target.check(data[number * 77_777 :][:100_000])
    bad = [requests[0], (path + ".missing", targets[1].address, 0, 1), requests[2]]
    for target in targets:
        target.reset()
    with pytest.raises(FileNotFoundError, match="missing") as caught:
        reader.read_many(bad)
    assert caught.value.index == 1
    targets[2].check(data[2 * 77_777 :][:100_000])


# ------------------------------------------------------------------ files


def test_headers(reader: FileReaderInterface, module_mount: Mount) -> None:
    files = {f"h{number}": safetensors_file(b"x" * number, extra=number) for number in range(20)}
    paths: List[Any] = [module_mount.write(name, file) for name, file in files.items()]
    paths[3], paths[4] = Path(paths[3]), os.fsencode(paths[4])
    headers = reader.read_headers_batch(paths, num_threads=5)
    assert list(headers) == paths
    for path, file in zip(paths, files.values()):
        length = 8 + int.from_bytes(file[:8], "little")
        assert headers[path] == (file[8:length].decode(), length, len(file))
        assert reader.has_fd(path)
    assert reader.read_headers_batch([]) == {}


def header(length: int, body: bytes = b"{}") -> bytes:
    return length.to_bytes(8, "little") + body


BAD_HEADERS = [
    (b"", 0),
    (b"1234567", 7),
    (header(3), 3),
    (header(100_000_001), 100_000_001),
    (header(1 << 63), 1 << 63),
    (header(2, b"[]"), 2),
    (header(3, b'{"\xff'), 3),
]


@pytest.mark.parametrize(("file", "number"), BAD_HEADERS)
def test_headers_that_are_none(reader: FileReaderInterface, module_mount: Mount, file: bytes, number: int) -> None:
    good, bad = module_mount.write(unique("good"), safetensors_file(b"x")), module_mount.write(unique("bad"), file)
    with pytest.raises(ValueError, match="bad") as caught:
        reader.read_headers_batch([good, bad])
    assert str(number) in str(caught.value)
    assert caught.value.index == 1  # type: ignore[attr-defined]
    assert len(reader.read_headers_batch([good])) == 1


def test_files_stay_open_until_the_end(reader: FileReaderInterface, path: str) -> None:
    assert not reader.has_fd(path)
    reader.read_chunked(path, 0, 0, 1)
    assert reader.has_fd(path)
    assert not reader.has_fd(path + "x")
    reader.close()
    reader.close()
    assert not reader.has_fd(path)
    assert reader.read_chunked(path, 0, 0, 10) == 10
    assert reader.has_fd(path)


def test_a_file_replaced_under_its_name(reader: FileReaderInterface, module_mount: Mount) -> None:
    old, new = random_bytes(50_000, 2), random_bytes(60_000, 3)
    path, target = module_mount.write(unique("replaced"), old), Target(60_000)
    assert reader.read_chunked(path, target.address, 0, 60_000) == 50_000
    # By another host it would show as soon; through the mount it shows at once to every backend.
    os.rename(module_mount.write(unique("fresh"), new), path)
    assert reader.read_chunked(path, target.address, 0, 60_000) == 60_000
    target.check(new)


@pytest.mark.parametrize("read", ["read_chunked", "read_headers_batch"])
def test_files_that_cannot_be_opened(reader: FileReaderInterface, module_mount: Mount, read: str) -> None:
    (module_mount.backing / "folder").mkdir(exist_ok=True)
    for name, error in (("missing", FileNotFoundError), ("folder", IsADirectoryError), ("data/x", NotADirectoryError)):
        path = str(module_mount.path / name)
        with pytest.raises(error) as caught:
            reader.read_chunked(path, 0, 0, 1) if read == "read_chunked" else reader.read_headers_batch([path])
        assert caught.value.filename == path


def test_files_beside_the_mount(way: Way, make: Make, module_mount: Mount, scratch: Path, data: bytes) -> None:
    (scratch / "beside").write_bytes(data)
    reader, target = make(module_mount, **({"require": ""} if way.usrbio else {})), Target(SIZE)
    assert reader.read_chunked(scratch / "beside", target.address, 3, SIZE) == SIZE - 3
    target.check(data[3:])
    assert len(reader.read_headers_batch([module_mount.write(unique("good"), safetensors_file(b"x"))])) == 1
    if way.usrbio:
        with pytest.raises(OSError, match="beside") as caught:
            make(module_mount).read_chunked(scratch / "beside", 0, 0, 1)
        assert caught.value.errno == errno.ENOTSUP


# ------------------------------------------------------------------ stricter and narrower daemons


@pytest.mark.parametrize("way", [WAYS[name] for name in USRBIO], ids=USRBIO)
def test_keys_that_the_next_3fs_takes_too(make: Make, serve: Callable[..., Mount], data: bytes) -> None:
    mount = serve("--strict-keys")
    reader, target = make(mount), Target(SIZE)
    assert reader.read_chunked(mount.write("data", data), target.address, 0, SIZE) == SIZE
    target.check(data)
    stats = mount.daemon.stats()
    assert stats["violations"] == 0
    assert stats["bytes"] >= SIZE


@pytest.mark.parametrize("way", [WAYS[name] for name in USRBIO], ids=USRBIO)
def test_a_daemon_with_the_limits_of_3fs(make: Make, serve: Callable[..., Mount], data: bytes) -> None:
    limits = ("--host-limit", "4", "--server-limit", "1", "--servers", "8")
    mount = serve("--latency-us", "1000", "--chunk-kb", "64", *limits)
    reader, target = make(mount), Target(SIZE)
    assert reader.read_chunked(mount.write("data", data), target.address, 0, SIZE) == SIZE
    target.check(data)
    storage = mount.daemon.stats()["storage"]
    assert storage["waited"] > 0
    assert storage["in_flight_max"] <= 4
    assert storage["server_max"] == 1


# ------------------------------------------------------------------ arguments


@pytest.mark.parametrize("argument", ["file_offset", "total_length", "chunk_size"])
def test_negative_numbers(reader: FileReaderInterface, path: str, argument: str) -> None:
    arguments = {"dev_ptr": 0, "file_offset": 0, "total_length": 1, "chunk_size": 0, argument: -1}
    with pytest.raises(ValueError, match=str(-1)) as caught:
        reader.read_chunked(path, **arguments)
    assert path in str(caught.value) or argument == "chunk_size"


@pytest.mark.parametrize("dev_ptr", [-1, 1 << 64])
def test_addresses_that_are_none(reader: FileReaderInterface, path: str, dev_ptr: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        reader.read_chunked(path, dev_ptr, 0, 1)


@pytest.mark.parametrize("way", [WAYS[name] for name in CHECKING], ids=CHECKING)
@pytest.mark.parametrize("keywords", [{"entries": 0}, {"entries": -5}, {"buffer_size": 0}, {"buffer_size": 1 << 60}])
def test_settings_out_of_range(make: Make, module_mount: Mount, keywords: Dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keywords))):
        make(module_mount, **keywords)


@pytest.mark.parametrize("way", [WAYS[name] for name in CHECKING], ids=CHECKING)
def test_a_mount_point_that_does_not_exist(way: Way, scratch: Path, sdk: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        create_reader(way.backend, **{**way.keywords, "mount_point": str(scratch / "none")})
    assert caught.value.filename == str(scratch / "none")


@pytest.mark.parametrize("way", [WAYS[name] for name in CHECKING], ids=CHECKING)
@pytest.mark.parametrize("mount_point", ["", "scratch"])
def test_what_is_not_3fs_is_read_through_the_system(
    way: Way, scratch: Path, sdk: str, mount_point: str, data: bytes
) -> None:
    (scratch / "file").write_bytes(data)
    where = str(scratch) if mount_point else ""
    with create_reader(way.backend, mount_point=where, buffer_size=BUFFER) as reader:
        target = Target(SIZE)
        assert reader.read_chunked(scratch / "file", target.address, 0, SIZE) == SIZE
        target.check(data)
        info = reader.info()
        assert (info["transport"], reader.mount_point) == ("posix", where)
        assert info["why_not"] != ""
    with pytest.raises(OSError, match="ruled out") as caught:
        create_reader(way.backend, mount_point=where, require="usrbio")
    assert caught.value.errno == errno.ENOTSUP


# ------------------------------------------------------------------ life


def test_a_child_after_fork(reader: FileReaderInterface, path: str, data: bytes) -> None:
    reader.read_chunked(path, 0, 0, 1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            reader.read_chunked(path, 0, 0, 1)
        except RuntimeError as e:
            status = 0 if "child" in str(e) else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    target = Target(SIZE)
    assert reader.read_chunked(path, target.address, 0, SIZE) == SIZE
    target.check(data)


def test_a_child_that_drops_the_reader_leaves_the_parents(make: Make, module_mount: Mount, path: str) -> None:
    readers = [create_and_read(make, module_mount, path)]
    pid = os.fork()
    if pid == 0:
        readers.clear()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert readers[0].read_chunked(path, 0, 0, SIZE) == SIZE


def create_and_read(make: Make, mount: Mount, path: str) -> FileReaderInterface:
    reader = make(mount)
    reader.read_chunked(path, 0, 0, 1)
    return reader


def test_dropped_without_close(way: Way, sdk: str, hf3fs_fuse: Callable[[bool], None], module_mount: Mount) -> None:
    """What is left is the business of the look that follows every test."""
    hf3fs_fuse(way.usrbio)
    keywords = {"mount_point": str(module_mount.path), "buffer_size": BUFFER, **way.keywords}
    create_reader(way.backend, **keywords).read_chunked(module_mount.write("dropped", b"data"), 0, 0, 4)


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize("way", [WAYS[name] for name in USRBIO], ids=USRBIO)
class TestFaults:
    def test_an_answer_that_is_an_error(self, make: Make, serve: Callable[..., Mount]) -> None:
        mount = serve("--fail-every", "7")
        path, reader = mount.write("model", random_bytes(2 * MIB)), make(mount)
        target = Target(2 * MIB)
        with pytest.raises(OSError, match="model") as caught:
            reader.read_chunked(path, target.address, 0, 2 * MIB, 64 * KIB)
        assert (caught.value.errno, caught.value.filename) == (errno.EREMOTEIO, path)
        assert mount.stats()["in_flight"]["now"] == 0
        assert reader.info()["given_up"] == 0

    def test_a_short_answer(self, make: Make, serve: Callable[..., Mount]) -> None:
        mount = serve("--short-every", "5")
        path = mount.write("model", random_bytes(2 * MIB))
        target = Target(2 * MIB)
        with pytest.raises(OSError, match="short") as caught:
            make(mount).read_chunked(path, target.address, 0, 2 * MIB, 64 * KIB)
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, path)

    def test_a_request_that_never_completes(self, make: Make, serve: Callable[..., Mount]) -> None:
        mount = serve("--hang-every", "40")
        data = random_bytes(4 * MIB)
        path, reader = mount.write("model", data), make(mount, timeout=0.7)
        target = Target(4 * MIB)
        with pytest.raises(TimeoutError) as caught:
            reader.read_chunked(path, target.address, 0, 4 * MIB, 64 * KIB)
        assert caught.value.filename == path
        assert reader.info()["given_up"] == 1
        # The next read has a buffer and a ring of its own.
        target = Target(300 * KIB)
        assert reader.read_chunked(path, target.address, 0, 300 * KIB, 64 * KIB) == 300 * KIB
        target.check(data[: 300 * KIB])
        reader.close()
        assert eventually(lambda: mount.registrations() == 0)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the interface's own destructors
    def test_the_daemon_is_killed(self, make: Make, serve: Callable[..., Mount]) -> None:
        mount = serve("--latency-us", "20000")
        path, reader = mount.write("model", random_bytes(4 * MIB)), make(mount, timeout=2.0)
        reading = UntilItFails(lambda: reader.read_chunked(path, 0, 0, 4 * MIB, 64 * KIB))
        assert eventually(lambda: reader.info()["requests"])
        mount.kill()
        assert reading.error().errno in (errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNABORTED)

    def test_a_hole_is_an_error(self, make: Make, module_mount: Mount) -> None:
        path = module_mount.write("holes", random_bytes(64 * KIB))
        with open(path, "r+b") as file:
            file.seek(4 * MIB)
            file.write(b"end")
        with pytest.raises(OSError, match="holes") as caught:
            make(module_mount).read_chunked(path, 0, 0, 5 * MIB)
        assert caught.value.errno in (errno.ENODATA, errno.EIO)
