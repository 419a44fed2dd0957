# SPDX-License-Identifier: Apache-2.0
"""Two users on one machine: neither reads the other's weights, nor disturbs its reads."""

import contextlib
import errno
import os
import socket
import stat
import uuid
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from support import MIB, Mount, Target, eventually, random_bytes, shm_objects
from users import ALICE, MALLORY, Child, as_user, needs_root, refused

from fastsafetensor_3fs_reader import ThreeFSFileReader

pytestmark = needs_root

SIZE = 2 * MIB + 77
SHM = Path("/dev/shm")


@pytest.fixture
def data() -> bytes:
    return random_bytes(SIZE)


@pytest.fixture
def open_mount(mount: Mount, scratch: Path, scratch_session: Path) -> Mount:
    """A mount that other users reach: the folders of the tests are this user's alone."""
    scratch.chmod(0o711)
    scratch_session.chmod(0o711)
    return mount


def read_whole(reader: ThreeFSFileReader, path: str, data: bytes) -> None:
    target = Target(len(data))
    assert reader.read_chunked(path, target.address, 0, len(data)) == len(data)
    target.check(data)


def reading(mount: Mount, path: str, data: bytes, way: str) -> Callable[..., None]:
    """Opens a reader, and reads as often as it is told to."""

    def work(say: Callable[[str], None], hear: Callable[[], str]) -> None:
        with ThreeFSFileReader(str(mount.path), require="usrbio", usrbio=way, buffer_size=MIB, timeout=60) as reader:
            memory = reader.alloc(MIB)
            assert reader.read_chunked(path, memory.address, 0, MIB) == MIB
            say("opened")
            while hear():
                read_whole(reader, path, data)
                say("read")

    return work


@pytest.fixture(params=["builtin", "sdk"])
def alice(request: pytest.FixtureRequest, sdk: str, open_mount: Mount, data: bytes) -> Iterator[Child]:
    """A user whose reader is open, with memory of ``alloc``."""
    child = Child(ALICE, reading(open_mount, open_mount.write("model", data), data, request.param))
    assert child.hear() == "opened"
    yield child
    child.end()


def reads(child: Child) -> None:
    child.say("again")
    assert child.hear() == "read"


# ------------------------------------------------------------------ whose memory it is


def test_no_name_leads_to_it(alice: Child, open_mount: Mount) -> None:
    def look() -> None:
        assert shm_objects(alice.pid) == set(), "a name is left"
        for what in ("mem", "maps", "environ"):
            refused((Path("/proc") / str(alice.pid) / what).read_bytes)
        for what in ("fd", "map_files"):
            refused(lambda w=what: os.listdir(f"/proc/{alice.pid}/{w}"))

    as_user(MALLORY, look)
    reads(alice)


def test_no_key_leads_to_it(alice: Child, open_mount: Mount) -> None:
    iovs = open_mount.path / "3fs-virt" / "iovs"
    keys: List[str] = []

    def list_keys(say: Callable[[str], None], hear: Callable[[], str]) -> None:
        say(" ".join(name for name in os.listdir(iovs) if not name.startswith("submit-ios")))

    child = Child(ALICE, list_keys)
    keys += child.hear().split()
    child.end()
    assert len(keys) >= 3, "buffer, ring and memory"

    def touch() -> None:
        assert [name for name in os.listdir(iovs) if not name.startswith("submit-ios")] == []
        for key in keys:
            refused(lambda k=key: os.readlink(iovs / k))
            refused(lambda k=key: os.unlink(iovs / k))

    as_user(MALLORY, touch)
    reads(alice)


def allocating(mount: Mount) -> Callable[..., None]:
    """Makes memory, and more of it when it is told to."""

    def work(say: Callable[[str], None], hear: Callable[[], str]) -> None:
        with ThreeFSFileReader(str(mount.path), require="usrbio", usrbio="builtin", timeout=60) as reader:
            memories = [reader.alloc(MIB)]
            say("opened")
            hear()
            memories.append(reader.alloc(MIB))
            say("made")

    return work


def test_while_it_has_a_name_it_opens_to_nobody_else(open_mount: Mount) -> None:
    """A name lasts from its making to the daemon's answer: here as long as the daemon sleeps."""
    child = Child(ALICE, allocating(open_mount))
    assert child.hear() == "opened"
    with open_mount.suspended():
        child.say("more")
        names = [SHM / name for name in eventually(lambda: shm_objects(child.pid), 30)]
        assert [stat.S_IMODE(name.stat().st_mode) for name in names] == [0o600]
        as_user(MALLORY, lambda: touch_objects(names))
    assert child.hear() == "made"
    child.end()


def touch_objects(names: List[Path]) -> None:
    for name in names:
        refused(lambda n=name: n.open("rb"))
        refused(lambda n=name: n.open("r+b"))
        refused(lambda n=name: os.truncate(n, 0))
        refused(lambda n=name: n.chmod(0o666))
        refused(lambda n=name: n.unlink())
        refused(lambda n=name: n.rename(SHM / "mine"))


# ------------------------------------------------------------------ the semaphores, which are everybody's


def failing(mount: Mount, path: str) -> Callable[..., None]:
    """Opens a reader, and then makes reads that fail."""

    def work(say: Callable[[str], None], hear: Callable[[], str]) -> None:
        with ThreeFSFileReader(str(mount.path), require="usrbio", usrbio="builtin", timeout=60) as reader:
            reader.read_chunked(path, 0, 0, 1)
            say("opened")
            while hear():
                with pytest.raises(OSError, match=r"cut .* short") as caught:
                    reader.read_chunked(path, 0, 0, SIZE)
                say(str(caught.value.errno))

    return work


def test_a_semaphore_that_is_cut_short_ends_no_process(open_mount: Mount, data: bytes) -> None:
    child = Child(ALICE, failing(open_mount, open_mount.write("model", data)))
    assert child.hear() == "opened"
    as_user(MALLORY, lambda: [os.truncate(semaphore, 0) for semaphore in open_mount.semaphores])
    for _ in range(2):
        child.say("again")
        assert int(child.hear()) in (errno.EOWNERDEAD, errno.EINVAL)
    child.end()


# ------------------------------------------------------------------ names that others have made


def owner_id(pid: int) -> str:
    """A name as a reader of process ``pid`` gives it, of this pid namespace, with a start that is nobody's."""
    namespace = os.stat("/proc/self/ns/pid").st_ino & ((1 << 24) - 1)
    bits = f"{pid:022b}{1:036b}{namespace:024b}{0x123456789A:040b}"
    whole = bits[:48] + "1000" + bits[48:60] + "10" + bits[60:]
    return f"hf3fs-iov-{uuid.UUID(int=int(whole, 2))}"


@contextlib.contextmanager
def squatters(target: Path) -> Iterator[List[Path]]:
    """Names of a dead owner, by another user: a file, a FIFO, a folder, a socket, and a link to ``target``."""
    names = [SHM / owner_id(4_000_000 + i) for i in range(5)]

    def make() -> None:
        names[0].write_bytes(b"x")
        os.mkfifo(names[1])
        names[2].mkdir()
        socket.socket(socket.AF_UNIX).bind(str(names[3]))
        names[4].symlink_to(target)

    try:
        as_user(MALLORY, make)
        yield names
    finally:
        for name in names:
            if name.is_dir() and not name.is_symlink():
                name.rmdir()
            else:
                name.unlink(missing_ok=True)


@pytest.mark.parametrize("uid", [0, ALICE])
def test_names_that_others_have_made_lead_nowhere(open_mount: Mount, data: bytes, scratch: Path, uid: int) -> None:
    path = open_mount.write("model", data)
    precious = scratch / "precious"
    precious.write_bytes(b"precious")
    with squatters(precious) as names:
        child = Child(uid, reading(open_mount, path, data, "builtin"))
        assert child.hear() == "opened"
        reads(child)
        child.end()
        # Of dead owners root takes away what it finds. Another user may not; but a reader of root's may be about.
        left = {name for name in names if os.path.lexists(name)}
        assert uid != 0 or left == {names[2]}
    assert precious.read_bytes() == b"precious"


def test_links_out_of_shared_memory_are_refused(alice: Child, open_mount: Mount, scratch: Path) -> None:
    outside = scratch / "outside"
    outside.write_bytes(bytes(8192))
    outside.chmod(0o666)
    iovs = open_mount.path / "3fs-virt" / "iovs"
    inside = SHM / f"hf3fs-iov-{uuid.uuid4()}"
    theirs = SHM / f"hf3fs-iov-{uuid.uuid4()}"

    def offer() -> None:
        inside.symlink_to(outside)
        for target in (outside, SHM / ".." / outside.relative_to("/"), inside, Path("/etc/passwd"), SHM):
            with pytest.raises(OSError, match="Invalid argument"):
                os.symlink(target, iovs / str(uuid.uuid4()))
        refused(lambda: os.symlink(theirs, iovs / str(uuid.uuid4())))

    try:
        theirs.write_bytes(bytes(4096))
        theirs.chmod(0o600)
        os.chown(theirs, ALICE, ALICE)
        as_user(MALLORY, offer)
    finally:
        inside.unlink(missing_ok=True)
        theirs.unlink(missing_ok=True)
    reads(alice)
    assert outside.read_bytes() == bytes(8192)
    open_mount.violations_meant = 6


# ------------------------------------------------------------------ what everybody may do


def noise(say: Callable[[str], None], hear: Callable[[], str], semaphores: List[str], iovs: Path) -> None:
    """Posts, and registers and forgets again, as fast as it can."""
    say("begun")
    import ctypes  # noqa: PLC0415 - for the child alone

    library = ctypes.CDLL(None, use_errno=True)
    library.sem_open.restype = ctypes.c_void_p
    opened: List[Any] = [library.sem_open(os.fsencode("/" + Path(s).name[len("sem.") :]), 0) for s in semaphores]
    assert all(opened)
    mine = SHM / f"hf3fs-iov-{uuid.uuid4()}"
    mine.write_bytes(bytes(1 << 16))
    try:
        for _ in range(300):
            for semaphore in opened:
                for _ in range(20):
                    library.sem_post(ctypes.c_void_p(semaphore))
            key = iovs / f"{uuid.uuid4()}"
            os.symlink(mine, key)
            os.unlink(key)
    finally:
        mine.unlink()


def test_noise_disturbs_no_read(alice: Child, open_mount: Mount) -> None:
    iovs = open_mount.path / "3fs-virt" / "iovs"
    mallory = Child(MALLORY, lambda say, hear: noise(say, hear, open_mount.semaphores, iovs))
    assert mallory.hear() == "begun"
    for _ in range(10):
        reads(alice)
    mallory.end()
    reads(alice)
