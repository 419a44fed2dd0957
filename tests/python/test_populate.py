# SPDX-License-Identifier: Apache-2.0
"""Memory made resident ahead of the bytes: that it happens, that bytes are right, and that a refusal costs nothing."""

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import numpy as np
import pytest
from support import KIB, MIB, Mount, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader, _core
from fastsafetensor_3fs_reader.usrbiod import find_usrbiod

LIBC = ctypes.CDLL(None, use_errno=True)
POPULATE_WRITE, COLLAPSE = 23, 25
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def kernel_populates() -> bool:
    with Fresh(mmap.PAGESIZE) as memory:
        return LIBC.madvise(ctypes.c_void_p(memory.address), ctypes.c_size_t(mmap.PAGESIZE), POPULATE_WRITE) == 0


class Fresh:
    """Memory that nobody has touched."""

    def __init__(self, size: int) -> None:
        self.map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._first = ctypes.c_char.from_buffer(self.map)
        self.address = ctypes.addressof(self._first)

    def __enter__(self) -> "Fresh":
        return self

    def __exit__(self, *_: object) -> None:
        del self._first
        self.map.close()


needs_populate = pytest.mark.skipif(not kernel_populates(), reason="this kernel does not populate memory (5.14 does)")


@pytest.fixture(params=["", "usrbio"], ids=["posix", "usrbio"])
def reader(request: pytest.FixtureRequest, mount: Mount) -> Iterator[ThreeFSFileReader]:
    with ThreeFSFileReader(str(mount.path) if request.param else "", require=request.param) as reader:
        yield reader


# ------------------------------------------------------------------ it happens


@needs_populate
@pytest.mark.parametrize("shift", [0, 1, 4095, 70_000])
def test_what_is_read_into_fresh_memory(mount: Mount, reader: ThreeFSFileReader, shift: int) -> None:
    """Whole pages inside the range, and no others; the bytes, and nothing around them."""
    data = random_bytes(40 * MIB + 321)
    path = mount.write("m", data)
    with Fresh(len(data) + 2 * MIB) as memory:
        assert reader.read_chunked(path, memory.address + shift, 0, len(data)) == len(data)
        assert memory.map[:shift] == bytes(shift)
        assert memory.map[shift : shift + len(data)] == data
        assert not any(memory.map[shift + len(data) :])
    info = reader.info()
    assert len(data) // 2 < info["populated"] <= len(data)
    assert info["populated_huge"] <= info["populated"]


@needs_populate
def test_neighbours_are_one(mount: Mount, reader: ThreeFSFileReader) -> None:
    """Ranges too small to be worth a thread's while are, when they lie side by side."""
    data = random_bytes(24 * MIB)
    path = mount.write("m", data)
    step = 100 * KIB + 4
    with Fresh(len(data)) as memory:
        requests = [(path, memory.address + at, at, min(step, len(data) - at)) for at in range(0, len(data), step)]
        assert sum(reader.read_many(requests)) == len(data)
        assert memory.map[:] == data
    assert reader.info()["populated"] > 0


def test_what_is_resident_already(mount: Mount, reader: ThreeFSFileReader) -> None:
    data = random_bytes(20 * MIB)
    path = mount.write("m", data)
    used = np.ones(len(data), np.uint8)
    assert reader.read_chunked(path, used.ctypes.data, 0, len(data)) == len(data)
    assert used.tobytes() == data
    assert reader.info()["populated"] == 0


def test_off(mount: Mount, open_reader: Callable) -> None:
    data = random_bytes(20 * MIB)
    path = mount.write("m", data)
    reader = open_reader(mount, populate="off")
    with Fresh(len(data)) as memory:
        assert reader.read_chunked(path, memory.address, 0, len(data)) == len(data)
        assert memory.map[:] == data
    assert reader.info()["populated"] == 0


def test_a_wrong_setting(mount: Mount, open_reader: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FST3FS_POPULATE", "1")
    with pytest.raises(ValueError, match="FST3FS_POPULATE"):
        open_reader(mount)


def test_memory_given_back_meanwhile(mount: Mount, reader: ThreeFSFileReader) -> None:
    """By its owner, from another thread: the read goes on."""
    data = random_bytes(64 * MIB)
    path = mount.write("m", data)
    done = threading.Event()
    with Fresh(len(data)) as memory:

        def take_away() -> None:
            while not done.is_set():
                LIBC.madvise(ctypes.c_void_p(memory.address), ctypes.c_size_t(len(data)), mmap.MADV_DONTNEED)

        thread = threading.Thread(target=take_away)
        thread.start()
        try:
            for _ in range(3):
                assert reader.read_chunked(path, memory.address, 0, len(data)) == len(data)
        finally:
            done.set()
            thread.join()
        assert reader.read_chunked(path, memory.address, 0, len(data)) == len(data)
        assert memory.map[:] == data


# ------------------------------------------------------------------ memory of our own


def smaps(address: int, key: str) -> int:
    """Bytes that the kernel counts under ``key`` for the mapping that begins at ``address``."""
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{address:x}-"):
            inside = True
        elif inside and line.startswith(key):
            return int(line.split()[1]) * KIB
    raise AssertionError(f"no mapping begins at {address:x}")


def test_info_says_which_pages_shared_memory_got(mount: Mount, open_reader: Callable) -> None:
    reader = open_reader(mount, buffer_size=16 * MIB)
    size = 10 * MIB + 5
    memory = reader.alloc(size)
    info = reader.info()
    assert info["iov_huge"] == smaps(info["iov_base"], "ShmemPmdMapped") <= 16 * MIB
    assert info["alloc_huge"] == smaps(memory.address, "ShmemPmdMapped") <= 10 * MIB
    assert info["alloc_length"] == size
    del memory
    assert (reader.info()["alloc_length"], reader.info()["alloc_huge"]) == (0, 0)


def test_private_memory_comes_huge(mount: Mount, reader: ThreeFSFileReader) -> None:
    if "[never]" in THP.read_text(encoding="ascii"):
        pytest.skip("huge pages are switched off here")
    data = random_bytes(16 * MIB)
    path = mount.write("m", data)
    memory = _core.alloc_host(len(data))
    assert reader.read_chunked(path, memory.address, 0, len(data)) == len(data)
    assert bytes(memory) == data
    assert smaps(memory.address, "AnonHugePages") > 0


# ------------------------------------------------------------------ refusals

#: Runs the rest of its arguments where the kernel refuses to advise on memory as the first, comma-separated, says.
REFUSING = textwrap.dedent(
    """
    import ctypes, os, struct, sys
    SYS_MADVISE = {"x86_64": 28, "aarch64": 233}[os.uname().machine]
    EPERM, ALLOW, ERRNO = 1, 0x7FFF0000, 0x00050000
    advices = [int(word) for word in sys.argv[1].split(",")]
    code = [(0x20, 0, 0, 0), (0x15, 0, len(advices) + 1, SYS_MADVISE), (0x20, 0, 0, 32)]
    code += [(0x15, len(advices) - i, 0, advice) for i, advice in enumerate(advices)]
    code += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, ERRNO | EPERM)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    refused = libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(program))
    if refused:
        sys.exit(f"no filter of system calls here: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])
    """
)


def refusing(*advices: int) -> List[str]:
    """The beginning of a command line."""
    return [sys.executable, "-c", REFUSING, ",".join(map(str, advices))]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=600
    )
    if "no filter of system calls here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-3000:]} {done.stderr[-3000:]}"
    return done.stdout


#: Reads a file into fresh memory and into alloc(), and says what info() says.
READ = textwrap.dedent(
    """
    import ctypes, json, mmap, os, sys
    from fastsafetensor_3fs_reader import ThreeFSFileReader
    path, mount = sys.argv[1:]
    size = os.stat(path).st_size
    with ThreeFSFileReader(mount, require="usrbio", buffer_size=16 << 20) as reader:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert reader.read_chunked(path, address, 0, size) == size
        allocated = reader.alloc(size)
        assert reader.read_chunked(path, allocated.address, 0, size) == size
        with open(path, "rb") as file:
            data = file.read()
        assert memory[:] == data and bytes(allocated) == data
        print(json.dumps({k: v for k, v in reader.info().items() if "populated" in k or "huge" in k}))
    """
)


def test_a_kernel_that_refuses_to_populate(mount: Mount) -> None:
    path = mount.write("m", random_bytes(20 * MIB))
    out = run(*refusing(POPULATE_WRITE), sys.executable, "-c", READ, path, str(mount.path))
    assert out.strip() == '{"populated": 0, "populated_huge": 0, "iov_huge": 0, "alloc_huge": 0}'


@needs_populate
def test_a_kernel_that_refuses_huge_pages(mount: Mount) -> None:
    path = mount.write("m", random_bytes(20 * MIB))
    out = run(*refusing(COLLAPSE, mmap.MADV_HUGEPAGE), sys.executable, "-c", READ, path, str(mount.path))
    assert '"iov_huge": 0, "alloc_huge": 0' in out
    assert '"populated": 0,' not in out


CONFORMANCE = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
SAME_TESTS = [str(Path(__file__).parent / f"test_{name}.py") for name in ("conformance", "memory", "threads")]
#: It is backend "c" that has the help: the others would be tested thrice as they are.
OTHER_BACKENDS = ["-k", "not (mock or python-posix or python-usrbio)"]


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [
        ([], {"FST3FS_POPULATE": "off"}),
        (refusing(POPULATE_WRITE), {}),
        (refusing(COLLAPSE), {}),
    ],
    ids=["off", "refused", "no-huge-pages"],
)
def test_conformance_without(prefix: List[str], environment: Dict[str, str]) -> None:
    """The tests of what readers promise, where there is no such help, or only half of it."""
    with tempfile.TemporaryDirectory(prefix="fst3fs-without-") as folder:
        out = run(
            *(*prefix, *CONFORMANCE, f"--basetemp={folder}/tests", *SAME_TESTS, *OTHER_BACKENDS),
            USRBIOD=find_usrbiod(),
            **environment,
        )
    assert " passed" in out
    assert " failed" not in out


# ------------------------------------------------------------------ little memory


def test_little_address_space(mount: Mount) -> None:
    """`ulimit -v`: an error of the caller's allocation or of ours, or success, at every limit."""
    path = mount.write("m", random_bytes(20 * MIB))
    outcomes = []
    for spare in (0, 20, 50, 90, 200, 2000):
        limited = (
            "import resource, os; used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
            "import fastsafetensor_3fs_reader, ctypes, mmap, json\n"
            "used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
            f"resource.setrlimit(resource.RLIMIT_AS, (used + ({spare} << 20),) * 2)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", limited + READ, path, str(mount.path)], capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done
        if done.returncode == 1:
            assert "Error" in done.stderr.splitlines()[-1], done.stderr
        outcomes.append(done.returncode)
    assert outcomes[0] == 1
    assert outcomes[-1] == 0


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """One below this process's own, whose members may use ``limit`` bytes; skips where none can be made."""
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    own = {line.split(":")[1]: line.split(":")[2] for line in lines}
    root, name, knob = (
        (Path("/sys/fs/cgroup/memory"), own["memory"], "memory.limit_in_bytes")
        if "memory" in own
        else (Path("/sys/fs/cgroup"), own.get("", "/"), "memory.max")
    )
    group = Path(f"{root}{name}") / f"fst3fs-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip(f"no control group of one's own here: {e}")
    try:
        (group / knob).write_text(str(limit), encoding="ascii")
        yield group
    except OSError as e:
        pytest.skip(f"no control group with a limit here: {e}")
    finally:
        group.rmdir()


def test_a_control_group_that_the_read_just_fits(mount: Mount) -> None:
    """Nobody is killed where reading in order fits: destination, buffer, and what Python itself takes."""
    size = 256 * MIB
    path = mount.write("m", random_bytes(16 * MIB) * (size // (16 * MIB)))
    read = textwrap.dedent(
        """
        import ctypes, mmap, os, sys
        path, mount, group = sys.argv[1:]
        with open(group + "/cgroup.procs", "w") as procs:
            procs.write(str(os.getpid()))
        from fastsafetensor_3fs_reader import ThreeFSFileReader
        size = os.stat(path).st_size
        with ThreeFSFileReader(mount, require="usrbio", buffer_size=16 << 20) as reader:
            memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            assert reader.read_chunked(path, address, 0, size) == size
            print(reader.info()["populated"])
        """
    )
    with control_group(size + 16 * MIB + 24 * MIB) as group:
        run(sys.executable, "-c", read, path, str(mount.path), str(group))
