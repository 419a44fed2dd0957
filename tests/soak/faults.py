# SPDX-License-Identifier: Apache-2.0
"""What is done to the daemon and to the processes that read, at times that random numbers decide."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Callable, List, NamedTuple, Sequence

from fastsafetensor_3fs_reader.usrbiod import Usrbiod

#: Daemons as they may be, from well to wretched.
MOODS = (
    (),
    ("--latency-us=2000", "--jitter-us=3000"),
    ("--latency-us=500", "--bandwidth-mbps=300", "--job-mbps=100"),
    ("--chunk-kb=64", "--latency-us=200", "--host-limit=32", "--server-limit=8"),
    ("--fail-every=23",),
    ("--short-every=29", "--latency-us=500"),
    ("--hang-every=61",),
    ("--fail-every=31", "--short-every=37", "--hang-every=97", "--jitter-us=500"),
    ("--meta-latency-us=20000", "--latency-us=1000"),
)


class Daemon:
    """One usrbiod after the other on the same mount point."""

    def __init__(self, backing: Path, mount_point: Path) -> None:
        self._backing, self._mount_point = backing, mount_point
        self.complaints: List[str] = []
        self.start(())

    def start(self, options: Sequence[str]) -> None:
        self._one = Usrbiod(str(self._backing), str(self._mount_point), *options).start()
        iovs = self._mount_point / "3fs-virt" / "iovs"
        self._semaphores = [os.readlink(iovs / name) for name in ("submit-ios", "submit-ios.ph", "submit-ios.pl")]

    def end(self, killed: bool) -> None:
        """Killed, or as one that is asked to end, which must end well."""
        if killed:
            os.kill(self._one.pid, signal.SIGKILL)
            self._one.stop()
            for semaphore in self._semaphores:
                Path(semaphore).unlink(missing_ok=True)
        else:
            self._complain_of_violations()
            status = self._one.stop()
            if status != 0:
                self.complaints.append(f"usrbiod ended with {status}: {self._one.output()}")
            left = [semaphore for semaphore in self._semaphores if os.path.exists(semaphore)]
            if left:
                self.complaints.append(f"usrbiod left {left}")
        self._one.discard()

    def _complain_of_violations(self) -> None:
        stats = self._one.stats()
        if stats["violations"]:
            self.complaints.append(f"the protocol was violated: {stats['violations_by_kind']}")

    def registrations(self) -> int:
        stats = self._one.stats()
        return int(stats["iovs"] + stats["rings"])

    @contextlib.contextmanager
    def suspended(self):  # type: ignore[no-untyped-def]
        os.kill(self._one.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._one.pid, signal.SIGCONT)


class Faults:
    """Does one after the other until a stretch is over."""

    def __init__(self, rng: random.Random, daemon: Daemon, victims: Callable[[], List[int]]) -> None:
        self._rng, self._daemon, self._victims = rng, daemon, victims
        self.count = 0

    def until(self, end: float, done: Callable[[], bool]) -> None:
        """Sooner, when there is nobody left to be disturbed."""
        self._remount(killed=False, away=0)
        while time.monotonic() < end and not done():
            self._pause(self._rng.uniform(0.2, 2.0), end)
            fault = self._rng.choices([kind.do for kind in KINDS], [kind.weight for kind in KINDS])[0]
            fault(self)
            self.count += 1

    @staticmethod
    def _pause(seconds: float, end: float) -> None:
        time.sleep(max(0.0, min(seconds, end - time.monotonic())))

    def _remount(self, killed: bool, away: float) -> None:
        mood = self._rng.choice(MOODS)
        self._daemon.end(killed)
        time.sleep(away)
        self._daemon.start(mood)

    def kill(self) -> None:
        self._remount(killed=True, away=0)

    def kill_and_stay_away(self) -> None:
        self._remount(killed=True, away=self._rng.uniform(0.2, 1.5))

    def remount(self) -> None:
        self._remount(killed=False, away=self._rng.choice((0, 0.5)))

    def stall(self) -> None:
        """Mostly shorter than the readers' patience, sometimes longer."""
        with self._daemon.suspended():
            time.sleep(self._rng.choice((0.05, 0.3, 1.0, 3.0)))

    def interrupt(self) -> None:
        for pid in self._rng.sample(self._victims(), 2):
            os.kill(pid, signal.SIGINT)


class Kind(NamedTuple):
    weight: int
    do: Callable[[Faults], None]


KINDS = (
    Kind(3, Faults.kill),
    Kind(1, Faults.kill_and_stay_away),
    Kind(2, Faults.remount),
    Kind(3, Faults.stall),
    Kind(4, Faults.interrupt),
)
