# SPDX-License-Identifier: Apache-2.0
"""Not a byte beside the destination: pages on both sides that may not be touched. And what changes under a read."""

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from support import KIB, MIB, Guarded, Mount, eventually, in_the_background, random_bytes, run_python

from fastsafetensor_3fs_reader import ThreeFSFileReader

#: Around what the pieces, the pages, the huge pages and the copies that go past the caches are cut at.
SIZES = (1, 7, 63, 4095, 4097, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB + 65, 2 * MIB - 1, 2 * MIB + 4097)


def by_read(reader: ThreeFSFileReader, path: str, offset: int, targets: List[Guarded]) -> None:
    for target in targets:
        assert reader.read_chunked(path, target.address, offset, target.size) == target.size


def by_read_in_turn(reader: ThreeFSFileReader, path: str, offset: int, targets: List[Guarded]) -> None:
    for target in targets:
        got = reader.read_chunked(path, target.address, offset, target.size, 60_000, pipelined=False)
        assert got == target.size


def requests(path: str, offset: int, targets: List[Guarded]) -> List[Tuple[str, int, int, int]]:
    return [(path, target.address, offset, target.size) for target in targets]


def by_read_many(reader: ThreeFSFileReader, path: str, offset: int, targets: List[Guarded]) -> None:
    assert reader.read_many(requests(path, offset, targets)) == [target.size for target in targets]


def in_the_back(reader: ThreeFSFileReader, path: str, offset: int, targets: List[Guarded]) -> None:
    reader.start_many(requests(path, offset, targets)).finish()


ENTRIES = {"read": by_read, "in-turn": by_read_in_turn, "read_many": by_read_many, "start_many": in_the_back}
WAYS: Dict[str, Dict[str, Any]] = {
    "usrbio": {"require": "usrbio"},
    "copies-fault": {"require": "usrbio", "populate": "off"},
    "posix": {"mount_point": ""},
}


@pytest.fixture(params=WAYS)
def reader(request: pytest.FixtureRequest, module_mount: Mount, nothing_left: None) -> Iterator[ThreeFSFileReader]:
    keywords = {"mount_point": str(module_mount.path), "buffer_size": MIB, **WAYS[request.param]}
    with ThreeFSFileReader(**keywords) as reader:
        yield reader


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("flush_with_end", [True, False])
def test_nothing_beside_the_destination(
    reader: ThreeFSFileReader, path: str, data: bytes, entry: str, flush_with_end: bool
) -> None:
    for offset in (0, 12345):
        targets = [Guarded(size, flush_with_end) for size in SIZES]
        ENTRIES[entry](reader, path, offset, targets)
        for target in targets:
            target.check(data[offset : offset + target.size])


def test_nothing_beside_what_the_file_has(reader: ThreeFSFileReader, path: str, data: bytes) -> None:
    """Asked for more than there is, a read leaves the rest of its destination alone."""
    target = Guarded(10_000, True)
    assert reader.read_chunked(path, target.address, len(data) - 777, target.size) == 777
    target.check(data[-777:])


@pytest.mark.parametrize("flush_with_end", [True, False])
def test_nothing_beside_tensors(reader: ThreeFSFileReader, module_mount: Mount, flush_with_end: bool) -> None:
    """Streams and lists of tensors, whose requests serve several of them."""
    data = random_bytes(sum(SIZES))
    offsets = [sum(SIZES[:i]) for i in range(len(SIZES) + 1)]
    header = {
        f"t{i}": {"dtype": "U8", "shape": [size], "data_offsets": [offsets[i], offsets[i + 1]]}
        for i, size in enumerate(SIZES)
    }
    path = module_mount.write("guards.safetensors", whole_file(header, data))
    checkpoint = reader.core.checkpoint([path])
    for get in (read_tensors, stream):
        targets = [Guarded(size, flush_with_end) for size in SIZES]
        get(reader, checkpoint, targets)
        for i, target in enumerate(targets):
            target.check(data[offsets[i] : offsets[i + 1]])


def whole_file(header: Dict[str, Any], data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def read_tensors(reader: ThreeFSFileReader, checkpoint: Any, targets: List[Guarded]) -> None:
    reader.core.read_tensors(checkpoint, range(len(targets)), [target.address for target in targets])


def stream(reader: ThreeFSFileReader, checkpoint: Any, targets: List[Guarded]) -> None:
    stream = reader.core.stream(checkpoint, None, 1 << 30)
    while True:
        while (wanted := stream.wants()) is not None:
            stream.give(targets[wanted].address)
        if stream.next() is None:
            break
    stream.close()


# ------------------------------------------------------------------ files that change under a read


class Change(NamedTuple):
    name: str
    #: Does it to the file, given other bytes of the same length.
    do: Callable[[Path, bytes], None]


def put_in_its_place(file: Path, other: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(other)
    new.rename(file)


CHANGES = (
    Change("deleted", lambda file, other: file.unlink()),
    Change("renamed over", put_in_its_place),
    Change("cut short", lambda file, other: os.truncate(file, 5000)),
    Change("emptied", lambda file, other: os.truncate(file, 0)),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
@pytest.mark.parametrize("where", ["mount", "behind"])
def test_a_file_that_changes_under_a_read(serve: Callable[..., Mount], change: Change, where: str) -> None:
    """All of the old bytes, or an error: never fewer without a word, never others, and nothing beside them."""
    mount = serve("--latency-us", "20000")
    data, other = random_bytes(4 * MIB), random_bytes(4 * MIB, 2)
    path = mount.write("m", data)
    target = Guarded(len(data), True)
    outcome: List[Any] = []

    def read() -> None:
        try:
            outcome.append(reader.read_chunked(path, target.address, 0, len(data)))
        except OSError as e:
            outcome.append(e)

    with ThreeFSFileReader(str(mount.path), require="usrbio", buffer_size=256 * KIB) as reader:
        thread = in_the_background(read)
        assert eventually(lambda: reader.stats().bytes > 0)
        change.do(Path(path) if where == "mount" else mount.backing / "m", other)
        thread.join(60)
        assert not thread.is_alive()
        if outcome[0] == len(data):
            target.check(data)
        else:
            assert change.name in ("cut short", "emptied")
            assert isinstance(outcome[0], OSError), f"{outcome[0]} bytes, without a word"
            assert path in str(outcome[0])
        # And the reader is as good as new.
        whole = mount.write("another", other)
        again = Guarded(len(other), False)
        assert reader.read_chunked(whole, again.address, 0, len(other)) == len(other)
        again.check(other)


# ------------------------------------------------------------------ a destination that goes away under a read

#: Takes the pages of its destination away in the midst of a read, which the contract forbids.
TAKE_AWAY = textwrap.dedent(
    """
    import ctypes, mmap, sys, threading, time
    from fastsafetensor_3fs_reader import ThreeFSFileReader
    mount, path, how = sys.argv[1:]
    size = 8 << 20
    libc = ctypes.CDLL(None)
    memory = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    reader = ThreeFSFileReader(mount, require="usrbio", buffer_size=256 << 10)
    thread = threading.Thread(target=reader.read_chunked, args=(path, address, 0, size), daemon=True)
    thread.start()
    while reader.stats().bytes == 0:
        time.sleep(0.001)
    middle = ctypes.c_void_p(address + size // 2)
    if how == "unmapped":
        libc.munmap(middle, ctypes.c_size_t(size // 2))
    else:
        libc.mprotect(middle, ctypes.c_size_t(size // 2), mmap.PROT_READ)
    thread.join()
    """
)


@pytest.mark.parametrize("how", ["unmapped", "protected"])
def test_a_destination_that_goes_away(serve: Callable[..., Mount], how: str) -> None:
    """The process ends there, as with any store into memory that it has not; nothing of it is left anywhere."""
    mount = serve("--latency-us", "5000")
    path = mount.write("m", random_bytes(8 * MIB))
    done = run_python("-c", TAKE_AWAY, str(mount.path), path, how)
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert eventually(lambda: mount.registrations() == 0), mount.stats()
    with ThreeFSFileReader(str(mount.path), require="usrbio") as reader:
        assert reader.read_chunked(path, 0, 0, 8 * MIB) == 8 * MIB
