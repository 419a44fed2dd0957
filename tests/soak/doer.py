# SPDX-License-Identifier: Apache-2.0
"""A process of the soak: threads do deeds while the daemon suffers, read everything when it is well, and let go."""

import contextlib
import errno
import faulthandler
import gc
import logging
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, TypeVar

import ledger
from content import MIB, Made
from deeds import DEEDS, TIMEOUT_S, TOLERATED, Doer, Shared, write_pid
from support import eventually

from fastsafetensor_3fs_reader import ThreeFSFileReader

T = TypeVar("T")
#: Readers that the threads of a process share.
READERS = 2
#: In which a reader must have recovered from whatever was done to it: many time-outs, on a machine that is busy.
RECOVERY_S = 60.0
#: In which a process must have let go of what readers held: the longest that a thread of theirs waits, and to spare.
LETTING_GO_S = 30.0


class Setup(NamedTuple):
    """What a process is told once."""

    mount_point: Path
    files: List[Made]
    pids: Path
    threads: int
    log: Path


class Chaos(NamedTuple):
    """Do deeds for so many seconds, in an order that follows from ``seed``."""

    seed: str
    seconds: float


class Calm(NamedTuple):
    """The daemon is well again: read everything once, then let go of everything and say what is still held."""


class Report(NamedTuple):
    """What came of either."""

    done: "Counter[str]" = Counter()  # noqa: RUF012 - never changed
    errors: "Counter[str]" = Counter()  # noqa: RUF012
    compared: int = 0
    failures: Sequence[str] = ()
    held: Optional[ledger.Held] = None


def recovered(call: Callable[[], T]) -> T:
    """What it gives, as soon as the daemon lets it."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return call()
        except OSError as e:
            if time.monotonic() > deadline:
                raise AssertionError(f"still, {RECOVERY_S:g} s later: {e}") from e
            time.sleep(0.05)


class Interrupts:
    """Ctrl-C, while something is done that it may end, and at no other time; it says how often it came."""

    def __init__(self) -> None:
        self.count = 0
        self._armed = False
        signal.signal(signal.SIGINT, self._come)

    def _come(self, *_: object) -> None:
        self.count += 1
        if self._armed:
            self._armed = False
            raise KeyboardInterrupt

    def during(self, deed: Callable[[], None]) -> None:
        try:
            self._armed = True
            deed()
        finally:
            self._armed = False


class Thread:
    """One thread's part of a stretch of deeds, or of reading everything."""

    def __init__(self, shared: Shared, seed: str, failed: threading.Event, interrupts: Optional[Interrupts]) -> None:
        self.rng = random.Random(seed)
        self.doer = Doer(shared, self.rng)
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.failures: List[str] = []
        self._failed, self._interrupts = failed, interrupts
        self._seed = seed

    def chaos(self, until: float) -> None:
        names, weights = list(DEEDS), [deed.weight for deed in DEEDS.values()]
        while time.monotonic() < until and not self._failed.is_set():
            self._try(self.rng.choices(names, weights)[0])
        self._judge("at the end", self.doer.check_abandoned)

    def _try(self, name: str) -> None:
        deed: Callable[[], None] = getattr(self.doer, name)
        if self._interrupts and DEEDS[name].interruptible:
            self._judge(name, lambda: self._interrupts.during(deed))
        else:
            self._judge(name, deed)
        self.done[name] += 1

    def _judge(self, name: str, deed: Callable[[], None]) -> None:
        """Does it; errors that the daemon's misery explains are counted, all others fail the soak."""
        try:
            deed()
        except KeyboardInterrupt:
            self.errors["interrupted"] += 1
        except OSError as e:
            if e.errno not in TOLERATED:
                self._fail(name)
            else:
                self.errors[errno.errorcode[e.errno]] += 1
        except BaseException:
            self._fail(name)

    def _fail(self, name: str) -> None:
        self.failures.append(f"{name} (thread {self._seed}):\n{traceback.format_exc()}")
        self._failed.set()

    def calm(self) -> None:
        """Every byte of every file, through a reader that has suffered with the others."""
        for made in self.doer.shared.files:
            self._judge("reading everything", lambda made=made: self._whole(made))

    def _whole(self, made: Made) -> None:
        recovered(lambda: self.doer.whole(made))
        self.done["whole"] += 1


class Worker:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._interrupts = Interrupts()
        self._readers: List[ThreeFSFileReader] = []
        self.born = ledger.take()

    def _all(self, seed: str, work: Callable[[Thread], None]) -> Report:
        """``work`` on every thread; this one is the first, because Ctrl-C comes here."""
        while len(self._readers) < READERS:
            self._readers.append(recovered(self._reader))
        shared = Shared(self._setup.mount_point, self._setup.files, self._readers, self._setup.pids)
        failed = threading.Event()
        parts = [
            Thread(shared, f"{seed}.{n}", failed, None if n else self._interrupts) for n in range(self._setup.threads)
        ]
        others = [threading.Thread(target=work, args=(part,)) for part in parts[1:]]
        for other in others:
            other.start()
        work(parts[0])
        for other in others:
            other.join()
        return Report(
            sum((part.done for part in parts), Counter()),
            sum((part.errors for part in parts), Counter()),
            sum(part.doer.compared for part in parts),
            [failure for part in parts for failure in part.failures],
        )

    def _reader(self) -> ThreeFSFileReader:
        return ThreeFSFileReader(str(self._setup.mount_point), require="usrbio", timeout=TIMEOUT_S, buffer_size=2 * MIB)

    def chaos(self, order: Chaos) -> Report:
        until = time.monotonic() + order.seconds
        return self._all(order.seed, lambda thread: thread.chaos(until))

    def calm(self) -> Report:
        report = self._all("calm", Thread.calm)
        while self._readers:
            self._readers.pop().close()
        return report._replace(held=self._held())

    def _held(self) -> ledger.Held:
        """What a reader leaves to a thread of its own takes a moment."""
        eventually(lambda: ledger.is_back(self.born, ledger.take()), LETTING_GO_S)
        return ledger.take()


def run(setup: Setup, pipe: "Connection[Any, Any]") -> None:
    """Entry point of the process. It ends when the pipe does."""
    log = open(setup.log, "a", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = log
    faulthandler.enable(log)
    faulthandler.register(signal.SIGUSR2, log, all_threads=True)
    logging.getLogger("fastsafetensor_3fs_reader").setLevel(logging.CRITICAL)
    write_pid(setup.pids)
    ledger.make_malloc_give_back()
    worker = Worker(setup)
    with contextlib.suppress(EOFError):
        pipe.send(Report(held=worker.born))
        while True:
            order = pipe.recv()
            pipe.send(worker.chaos(order) if isinstance(order, Chaos) else worker.calm())
            del order
            gc.collect()
