# SPDX-License-Identifier: Apache-2.0
"""A long life: one process with 8 threads and four more read over a mount whose daemon fails, hangs, dies and comes
again, while they are interrupted, fork, are killed, ask for too much and leave streams early.

All that is delivered is compared with what the file holds there, and nothing may come to memory whose read has failed.
After every stretch of this the daemon is made well: then every byte of every file must be readable by every thread,
and when the readers are closed each process must hold what it held after the first stretch: fds, threads, memory; and
nothing in /dev/shm or registered with the daemon. What is done when follows from --seed; how it meets does not.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, List, Optional

import doer
import ledger
from content import MIB, Made, describe, write
from faults import Daemon, Faults
from support import eventually, scratch_root, shm_objects

#: Threads of each process. Ctrl-C comes to any.
THREADS = (8, 1, 1, 1, 1)
#: The last of these processes is killed now and then, and another takes its place.
MORTAL = len(THREADS) - 1
#: After which a process that should have answered hangs: it has 60 s to recover for each of the files that it reads.
ANSWER_S = 300.0
STRETCH_S = 60.0


class Process:
    """One of the readers' processes, seen from outside."""

    def __init__(self, setup: doer.Setup) -> None:
        self._setup = setup
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=doer.run, args=(self._setup, theirs), daemon=True)
        self._process.start()
        theirs.close()
        #: As it began, but for memory, which counts from the first quiet moment.
        self.before: Optional[ledger.Held] = self.answer().held
        self.after: Optional[ledger.Held] = None

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def tell(self, order: Any) -> None:
        self._pipe.send(order)

    def answered(self) -> bool:
        return self._pipe.poll()

    def answer(self) -> doer.Report:
        """RuntimeError when it hangs or has died; what each of its threads does is in the log then."""
        try:
            if self._pipe.poll(ANSWER_S):
                report: doer.Report = self._pipe.recv()
                return report
            os.kill(self.pid, signal.SIGUSR2)
            time.sleep(2)
            raise RuntimeError(f"process {self.pid} hangs")
        except (EOFError, ConnectionResetError):
            self._process.join(10)
            raise RuntimeError(f"process {self.pid} died: {self._process.exitcode}") from None

    def note(self, held: ledger.Held) -> None:
        """What it holds in a quiet moment."""
        assert self.before
        if self.after is None:
            self.before = self.before._replace(memory=held.memory)
        self.after = held

    def replace(self) -> None:
        """It is killed at once, and another one takes its place, about which nothing is known yet."""
        self.end()
        self._begin()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Soak:
    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self.failures: List[str] = []
        self._done: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._compared = self._faults = 0
        self._log = folder / "log"
        (folder / "backing").mkdir()
        (folder / "mnt").mkdir()
        files = self._files()
        self._daemon = Daemon(folder / "backing", folder / "mnt")
        setup = doer.Setup(folder / "mnt", files, folder / "pids", 0, self._log)
        self._processes = [Process(setup._replace(threads=threads)) for threads in THREADS]

    def _files(self) -> List[Made]:
        rng = random.Random(self._seed)
        files = [describe(n, [rng.randrange(1, 2 * MIB) for _ in range(12)]) for n in range(1, 5)]
        for made in files:
            write(made, self._folder / "backing")
        return files

    # -------------------------------------------------------------- stretches

    def stretch(self, number: int, seconds: float) -> None:
        rng = random.Random(f"{self._seed}.{number}")
        end = time.monotonic() + seconds
        if number > 0 and rng.random() < 0.7:
            self._kill_in(rng.uniform(0, seconds / 4))
        for index, process in enumerate(self._processes):
            process.tell(doer.Chaos(f"{self._seed}.{number}.{index}", end - time.monotonic()))
        faults = Faults(rng, self._daemon, lambda: [process.pid for process in self._processes])
        faults.until(end, lambda: all(process.answered() for process in self._processes))
        self._faults += faults.count
        self._collect()
        self._daemon.end(killed=False)
        self._daemon.start(())
        for process in self._processes:
            process.tell(doer.Calm())
        self._collect()
        self._look()

    def _kill_in(self, seconds: float) -> None:
        """One of the processes, in the middle of what it does."""
        process = self._processes[MORTAL]
        process.tell(doer.Chaos(f"{self._seed}.mortal", seconds + 60))
        time.sleep(seconds)
        process.replace()
        self._faults += 1

    def _collect(self) -> None:
        for index, process in enumerate(self._processes):
            report = process.answer()
            self._done += report.done
            self._errors += report.errors
            self._compared += report.compared
            self.failures += [f"process {index}: {failure}" for failure in report.failures]
            if report.held:
                process.note(report.held)

    def _look(self) -> None:
        """Is anything left, now that nobody reads?"""
        for index, process in enumerate(self._processes):
            assert process.before
            assert process.after
            self.failures += [f"process {index}: {text}" for text in ledger.differences(process.before, process.after)]
        if not eventually(lambda: self._daemon.registrations() == 0):
            self.failures.append(f"{self._daemon.registrations()} registrations are left")
        left = eventually(lambda: not self._objects()) or self._objects()
        if left is not True:
            self.failures.append(f"left in /dev/shm: {sorted(left)}")
        self.failures += self._daemon.complaints
        self._daemon.complaints.clear()

    def _objects(self) -> "set[str]":
        """Of all processes that there ever were, their children too."""
        return shm_objects(*map(int, (self._folder / "pids").read_text(encoding="ascii").split()))

    # -------------------------------------------------------------- what came of it

    def progress(self) -> str:
        errors = ", ".join(f"{count} {name}" for name, count in sorted(self._errors.items()))
        return (
            f"{sum(self._done.values())} deeds, {self._compared / 1e9:.1f} GB compared, {self._faults} faults;"
            f" errors: {errors or 'none'}; {len(self.failures)} failures"
        )

    def table(self) -> str:
        names = [f"process of {n} thread{'s' * (n > 1)}" for n in THREADS]
        whole = [process for process in self._processes if process.before and process.after]
        if len(whole) < len(THREADS):
            return "no table: it did not come to a quiet moment"
        return ledger.table(names, [p.before for p in whole], [p.after for p in whole])  # type: ignore[misc]

    def deeds(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(self._done.items()))

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def close(self) -> None:
        for process in self._processes:
            process.end()
        self._daemon.end(killed=True)


def run(soak: Soak, seconds: float) -> None:
    """A first stretch, after which everything has been loaded and made that stays; then the others."""
    end = time.monotonic() + seconds
    length = min(STRETCH_S, seconds / 3)
    number = 0
    while time.monotonic() < end and not soak.failures:
        try:
            soak.stretch(number, min(length, max(1.0, end - time.monotonic())))
        except RuntimeError as e:
            soak.failures.append(str(e))
        print(f"{time.strftime('%H:%M:%S')} stretch {number}: {soak.progress()}", flush=True)
        number += 1


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200, help="how long it reads (1200)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what is done when; printed")
    args = parser.parse_args(argv)
    print(f"seed {args.seed}, {args.seconds:g} s", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="fst3fs-soak-", dir=scratch_root()))
    try:
        soak = Soak(folder, args.seed)
        try:
            run(soak, args.seconds)
        finally:
            soak.close()
        print(f"{soak.deeds()}\n\n{soak.table()}")
        for failure in soak.failures:
            print(f"\nFAILED: {failure}")
        if soak.failures:
            print(soak.log(), file=sys.stderr)
        return 1 if soak.failures else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
