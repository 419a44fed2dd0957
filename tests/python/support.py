# SPDX-License-Identifier: Apache-2.0
"""What the tests share: data, destinations with guards, mounts, and a look at what this process has left."""

import contextlib
import ctypes
import functools
import importlib.util
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, ClassVar, Dict, Iterator, List, Set

import numpy as np

import fastsafetensor_3fs_reader
from fastsafetensor_3fs_reader.usrbiod import Usrbiod

KIB = 1 << 10
MIB = 1 << 20
PACKAGE = "fastsafetensor_3fs_reader"
#: The top of the checkout.
ROOT = Path(__file__).resolve().parents[2]

# ------------------------------------------------------------------ data

#: Of the fixture ``data``: no whole number of anything.
DATA_SIZE = 3 * MIB + 17


def load_script(name: str, path: Path) -> ModuleType:
    """A script as the module ``name``, its ``main`` not run."""
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@functools.lru_cache(maxsize=16)
def random_bytes(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def safetensors_file(data: bytes = b"", **extra: Any) -> bytes:
    """A valid file with one U8 tensor of ``data``."""
    header = {"t": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}, **extra}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


class Target:
    """Host memory to read into, with a guard on each side that no read may touch."""

    GUARD = 64
    FILL = 0xA5

    def __init__(self, size: int) -> None:
        self.size = size
        self._raw = (ctypes.c_ubyte * (size + 2 * self.GUARD))()
        self.address = ctypes.addressof(self._raw) + self.GUARD
        self.reset()

    def reset(self) -> None:
        ctypes.memset(self._raw, self.FILL, len(self._raw))

    def check(self, expected: bytes) -> None:
        """``expected`` is there, and nothing around it was touched."""
        raw = np.frombuffer(self._raw, np.uint8)
        end = self.GUARD + len(expected)
        assert np.array_equal(raw[self.GUARD : end], np.frombuffer(expected, np.uint8)), "bytes differ"
        assert (raw[: self.GUARD] == self.FILL).all(), "written before the destination"
        assert (raw[end:] == self.FILL).all(), "written behind what was delivered"


class Guarded:
    """``size`` bytes of fresh memory between pages that are nobody's, flush with the one behind or the one before."""

    def __init__(self, size: int, flush_with_end: bool) -> None:
        inside = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, inside + 2 * mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._inside = base + mmap.PAGESIZE
        for guard in (base, base + mmap.PAGESIZE + inside):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        self.size, self._pages = size, inside
        self.address = self._inside + (inside - size if flush_with_end else 0)

    def check(self, expected: bytes) -> None:
        """``expected`` is there, and the rest of its pages as it was."""
        got = ctypes.string_at(self._inside, self._pages)
        at = self.address - self._inside
        assert got[at : at + len(expected)] == expected, "bytes differ"
        assert not any(got[:at] + got[at + len(expected) :]), "written beside them"


def around(value: int) -> List[int]:
    return [value - 1, value, value + 1]


# ------------------------------------------------------------------ mounts


class Mount:
    """A directory served as 3FS for one test: files go into ``backing`` and are read below ``path``."""

    live: ClassVar[List["Mount"]] = []

    def __init__(self, backing: Path, path: Path, *options: str) -> None:
        backing.mkdir(parents=True, exist_ok=True)
        path.mkdir(parents=True)
        self.backing, self.path = backing, path
        #: What a test does against the protocol on purpose.
        self.violations_meant = 0
        self.daemon = Usrbiod(str(backing), str(path), *options).start()
        self.semaphores = [os.readlink(path / "3fs-virt" / "iovs" / name) for name in SEMAPHORES]
        Mount.live.append(self)

    def write(self, name: str, data: bytes) -> str:
        """Puts a file into the backing directory; its path on the mount."""
        file = self.backing / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return str(self.path / name)

    def stats(self) -> Dict[str, Any]:
        return self.daemon.stats()

    def registrations(self) -> int:
        stats = self.stats()
        return stats["iovs"] + stats["rings"]

    def kill(self) -> None:
        os.kill(self.daemon.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """It answers nothing meanwhile."""
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            assert eventually(lambda: states_of_threads(self.daemon.pid) == {"T"})  # a busy machine takes its time
            yield
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)

    def replace(self) -> None:
        """It dies, and another one takes its place."""
        self.kill()
        assert eventually(lambda: self.daemon.returncode is not None)
        self.daemon.stop()
        self.daemon.start()

    def stop(self) -> None:
        """Ends it, and asserts that it ended well: with no complaint of a sanitizer, and nothing left behind."""
        Mount.live.remove(self)
        killed = self.daemon.returncode == -signal.SIGKILL
        status = self.daemon.stop()
        output = self.daemon.output()
        self.daemon.discard()
        if killed:
            for semaphore in self.semaphores:
                Path(semaphore).unlink(missing_ok=True)
            return
        assert status == 0, f"usrbiod ended with {status}: {output}"
        assert not [s for s in self.semaphores if os.path.exists(s)], "usrbiod left semaphores"


SEMAPHORES = ("submit-ios", "submit-ios.ph", "submit-ios.pl")


def scratch_root() -> str:
    """Memory where there is some, so that no disk slows the tests."""
    shm = os.statvfs("/dev/shm")
    return "/dev/shm" if shm.f_bavail * shm.f_frsize > 1 << 30 else tempfile.gettempdir()


# ------------------------------------------------------------------ what is left


def states_of_threads(pid: int) -> Set[str]:
    """As /proc has them: R, S, T, ..."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What ``condition`` gives, as soon as that is true; at the end whatever it is."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.01)


_OBJECT = re.compile(r"hf3fs-iov-([0-9a-f]{8})-([0-9a-f]{4})-8")


def shm_objects(*pids: int) -> Set[str]:
    """Objects of these processes in /dev/shm: a buffer's id begins with 22 bits of its owner's pid."""
    found = set()
    for name in os.listdir("/dev/shm"):
        match = _OBJECT.match(name)
        if match and int(match.group(1) + match.group(2), 16) >> (48 - 22) in pids:
            found.add(name)
    return found


def open_fds() -> Set[str]:
    """What this process has open, by number and target."""
    fds = set()
    for number in os.listdir("/proc/self/fd"):
        # The one that listed them is gone.
        with contextlib.suppress(FileNotFoundError):
            fds.add(f"{number}: {os.readlink(f'/proc/self/fd/{number}')}")
    return fds


def threads() -> Set[str]:
    return set(os.listdir("/proc/self/task"))


# ------------------------------------------------------------------ other threads


def in_the_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class UntilItFails:
    """A thread that makes a call again and again, until it raises an OSError."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._errors: List[OSError] = []
        self._thread = in_the_background(self._run)

    def _run(self) -> None:
        try:
            while True:
                self._call()
        except OSError as e:
            self._errors.append(e)

    def error(self, seconds: float = 60) -> OSError:
        """What it raised, in time."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it hangs"
        return self._errors[0]


# ------------------------------------------------------------------ other processes


def python(*arguments: str, **kwargs: Any) -> "subprocess.Popen[str]":
    """A Python process that imports what is installed, and nothing of the folder it is started in."""
    return subprocess.Popen(
        [sys.executable, "-I", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def run_python(*arguments: str, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
    """The same, waited for."""
    return subprocess.run(
        [sys.executable, "-I", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


def dropin() -> str:
    """The drop-in for libhf3fs_api_shared.so: the one installed with the package, or $DROPIN where that has none."""
    installed = Path(fastsafetensor_3fs_reader.__file__).parent / "lib" / "libhf3fs_api_shared.so"
    return os.environ.get("DROPIN", str(installed))
