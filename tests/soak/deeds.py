# SPDX-License-Identifier: Apache-2.0
"""What readers are used for, one function each: all that is delivered is compared, whatever else goes wrong."""

import contextlib
import ctypes
import errno
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from content import MIB, Guarded, Made, WrongBytesError, compare

from fastsafetensor_3fs_reader import ThreeFSFileReader
from fastsafetensor_3fs_reader.numpy import safe_open

KIB = 1 << 10
#: Of the readers that many threads share.
TIMEOUT_S = 2.0
#: A child that has not ended after so long hangs.
CHILD_S = 60.0
#: What may be reported while a daemon fails, hangs, is killed, or is not there.
TOLERATED = frozenset(
    (
        errno.EREMOTEIO,  # a request failed
        errno.EIO,  # it came back short
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.ECONNABORTED,
        errno.ENOENT,  # the mount point is an empty folder meanwhile
        errno.ENOTSUP,  # or on no 3FS
        errno.ESTALE,  # the mount was replaced during the read
        errno.ECANCELED,  # given up together with another read of the reader
        errno.EINTR,  # a signal while the memory was being made
    )
)


class Shared(NamedTuple):
    """What the threads of a process share."""

    mount_point: Path
    files: List[Made]
    readers: List[ThreeFSFileReader]
    pids: Path  # every process that there ever was appends its number

    def path(self, made: Made) -> str:
        return str(self.mount_point / made.name)


class Doer:
    """One thread's deeds, in an order that its random numbers decide."""

    def __init__(self, shared: Shared, rng: random.Random) -> None:
        self.shared, self.rng = shared, rng
        self.compared = 0  # bytes
        #: The last destination of a read that failed: nothing may come to it any more.
        self._abandoned: Optional[Tuple[str, Guarded]] = None

    # -------------------------------------------------------------- means

    def _reader(self) -> ThreeFSFileReader:
        return self.rng.choice(self.shared.readers)

    def _own_reader(self, **settings: Any) -> ThreeFSFileReader:
        settings.setdefault("timeout", TIMEOUT_S)
        settings.setdefault("buffer_size", MIB)
        return ThreeFSFileReader(str(self.shared.mount_point), require="usrbio", **settings)

    def _range(self, most: int = 3 * MIB) -> Tuple[Made, int, int]:
        """Somewhere in a file, sometimes over its end."""
        made = self.rng.choice(self.shared.files)
        return made, self.rng.randrange(made.size), self.rng.randrange(1, most)

    def _expect(self, what: str, got: "np.ndarray", made: Made, offset: int, length: int) -> None:
        compare(what, got, made.bytes_at(offset, length))
        self.compared += len(got)

    def _into(self, target: Guarded, what: str, read: Callable[[], int], expected: "np.ndarray") -> None:
        """A read into guarded memory: all of it is there, or it failed and nothing comes any more."""
        try:
            got = read()
        except BaseException:
            self._abandon(what, target)
            raise
        if got != len(expected):
            raise WrongBytesError(f"{what}: {got} bytes were reported instead of {len(expected)}")
        target.check(what, expected)
        self.compared += got

    def _abandon(self, what: str, target: Guarded) -> None:
        self.check_abandoned()
        target.refill()
        self._abandoned = (what, target)

    def check_abandoned(self) -> None:
        if self._abandoned:
            what, target = self._abandoned
            target.check_untouched(what)

    # -------------------------------------------------------------- deeds

    def read(self, reader: Optional[ThreeFSFileReader] = None) -> None:
        made, offset, length = self._range()
        target = Guarded(length)
        chunk, pipelined = self.rng.choice((0, 0, 64 * KIB, 333 * KIB)), self.rng.random() < 0.8
        reader = reader or self._reader()
        self._into(
            target,
            f"read {made.name} at {offset}",
            lambda: reader.read_chunked(self.shared.path(made), target.address, offset, length, chunk, pipelined),
            made.bytes_at(offset, length),
        )

    def whole(self, made: Made) -> None:
        target = Guarded(made.size)
        what, path = f"all of {made.name}", self.shared.path(made)
        self._into(
            target,
            what,
            lambda: self._reader().read_chunked(path, target.address, 0, made.size),
            made.bytes_at(0, made.size),
        )

    def read_many(self) -> None:
        wanted = [self._range(MIB) for _ in range(self.rng.randrange(1, 8))]
        targets = [Guarded(length) for _, _, length in wanted]
        requests = [
            (self.shared.path(made), target.address, offset, length)
            for (made, offset, length), target in zip(wanted, targets)
        ]
        self._reader().read_many(requests, self.rng.choice((0, 50 * KIB)))
        for (made, offset, length), target in zip(wanted, targets):
            target.check(f"read_many {made.name} at {offset}", made.bytes_at(offset, length))
            self.compared += length

    def into_alloc(self) -> None:
        """Without a copy, into the middle of memory that the daemon writes to."""
        made, offset, length = self._range()
        before = self.rng.randrange(5000)
        memory = self._reader().alloc(before + length)
        array = np.frombuffer(memory, np.uint8)
        got = self._reader().read_chunked(self.shared.path(made), memory.address + before, offset, length)
        self._expect(f"alloc {made.name} at {offset}", array[before : before + got], made, offset, length)

    def too_large(self) -> None:
        """All that /dev/shm could hold if it were empty, or more: refused in words, and at once."""
        shm = os.statvfs("/dev/shm")
        size = shm.f_blocks * shm.f_frsize or 1 << 60
        size += self.rng.choice((0, shm.f_frsize))
        try:
            if self.rng.random() < 0.5:
                self._reader().alloc(size)
            else:
                self._own_reader(buffer_size=size)
        except ValueError as e:
            refusal = str(e)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            refusal = str(e)
        else:
            raise AssertionError(f"{size} bytes were not refused")
        if "this machine's" not in refusal and "MiB are free" not in refusal:
            raise AssertionError(f"{size} bytes were refused without the reason: {refusal}")

    def headers(self) -> None:
        paths = {self.shared.path(made): made for made in self.shared.files}
        got = self._reader().read_headers_batch(paths, num_threads=3)
        for path, made in paths.items():
            text, length, size = got[path]
            self._expect(f"header of {path}", np.frombuffer(text.encode(), np.uint8), made, 8, length - 8)
            if size != made.size:
                raise WrongBytesError(f"{path}: {size} bytes long instead of {made.size}")

    def background(self) -> None:
        """Started, and then waited for, cancelled or dropped."""
        batch = None  # the first of the locals, and so the first to go, when an interrupt ends this anywhere
        wanted = [self._range(MIB) for _ in range(self.rng.randrange(1, 12))]
        targets = [Guarded(length) for _, _, length in wanted]
        batch = self._reader().start_many(
            [
                (self.shared.path(made), target.address, offset, length)
                for (made, offset, length), target in zip(wanted, targets)
            ]
        )
        for index in range(self.rng.randrange(len(wanted) + 1)):
            made, offset, length = wanted[index]
            expected = made.bytes_at(offset, length)
            if batch.wait(index) != len(expected):
                raise WrongBytesError(f"batch {made.name} at {offset}: another number than {len(expected)}")
            targets[index].check(f"batch {made.name} at {offset}", expected)
            self.compared += len(expected)
        if self.rng.random() < 0.5:
            batch.finish()
        batch.cancel()
        self._abandon("a batch that was cancelled", targets[-1])

    def tensors(self) -> None:
        """A stream, taken to its end, left in the middle, or ended by an error of the one who takes."""
        files = self.rng.sample(self.shared.files, self.rng.randrange(1, len(self.shared.files) + 1))
        names = {name: made for made in files for name in made.tensors}
        leave_at, how = self.rng.randrange(len(names) + 4), self.rng.choice(("break", "raise", "close"))
        with safe_open(
            [self.shared.path(made) for made in files],
            require="usrbio",
            mount_point=str(self.shared.mount_point),
            timeout=TIMEOUT_S,
            buffer_size=self.rng.choice((256 * KIB, 2 * MIB)),
            ahead=self.rng.choice((MIB, 64 * MIB)),
        ) as opened:
            with contextlib.suppress(LeftEarlyError):
                self._take(opened, names, leave_at, how)
            if how == "close":
                opened.close()
                return
            name = self.rng.choice(list(names))
            self._expect(f"tensor {name}", opened.get_tensor(name), names[name], *names[name].tensors[name])

    def _take(self, opened: Any, names: Dict[str, Made], leave_at: int, how: str) -> None:
        for index, (name, tensor) in enumerate(opened.tensors()):
            self._expect(f"tensor {name}", tensor, names[name], *names[name].tensors[name])
            if index == leave_at and how == "raise":
                raise LeftEarlyError
            if index == leave_at:
                return

    def own(self) -> None:
        """A reader of any shape, with little patience, closed or dropped."""
        reader = self._own_reader(
            timeout=self.rng.choice((0.02, 0.1, 0.5, TIMEOUT_S)),
            buffer_size=self.rng.choice((64 * KIB, 300_000, MIB, 4 * MIB)),
            entries=self.rng.choice((1, 3, 16, 64)),
            io_depth=self.rng.choice((0, 1, 4, -8)),
            populate=self.rng.choice(("on", "off")),
        )
        self.read(reader)
        self._into_own_buffer(reader)
        if self.rng.random() < 0.7:
            reader.close()

    def _into_own_buffer(self, reader: ThreeFSFileReader) -> None:
        base, room = reader.iov_base, reader.iov_length
        if base:  # there is none after a session was given up
            made, offset, length = self._range(room)
            try:
                got = reader.read_chunked(self.shared.path(made), base, offset, length)
            except ValueError as e:
                if "ask for its address again" in str(e):
                    return  # the mount was replaced since
                raise
            buffer = np.frombuffer(ctypes.string_at(base, got), np.uint8)
            self._expect(f"own buffer, {made.name} at {offset}", buffer, made, offset, length)

    def close(self) -> None:
        """While others read: they take what they need again."""
        self._reader().close()

    def fork(self) -> None:
        """A child, while other threads read: the parent's reader is none of its, and one of its own works."""
        seed = self.rng.random()
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(seed))
        deadline = time.monotonic() + CHILD_S
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGUSR2)  # the log says where
                time.sleep(1)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise AssertionError("a child hangs")
            time.sleep(0.01)
        if status != 0:
            raise AssertionError(f"a child ended with {os.waitstatus_to_exitcode(status)}")

    def _child(self, seed: float) -> int:
        try:
            write_pid(self.shared.pids)
            self.rng = random.Random(seed)
            try:
                self._reader().read_chunked(self.shared.path(self.shared.files[0]), 0, 0, 1)
            except RuntimeError:
                pass
            else:
                raise AssertionError("a child could use its parent's reader")
            with self._own_reader() as reader:
                self.read(reader)
        except OSError as e:
            if e.errno in TOLERATED:
                return 0
            traceback.print_exc()
        except BaseException:
            traceback.print_exc()
        else:
            return 0
        sys.stderr.flush()
        return 1


class LeftEarlyError(Exception):
    """Of a consumer that has seen enough."""


def write_pid(pids: Path) -> None:
    with open(pids, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


class Deed(NamedTuple):
    weight: int
    #: Ctrl-C may come in the middle of it.
    interruptible: bool = True


DEEDS: Dict[str, Deed] = {
    "read": Deed(30),
    "read_many": Deed(15),
    "into_alloc": Deed(15),
    "too_large": Deed(3),
    "headers": Deed(6),
    "background": Deed(12),
    "tensors": Deed(12),
    "own": Deed(8),
    "close": Deed(2),
    "fork": Deed(2, interruptible=False),  # its child would be left
}
