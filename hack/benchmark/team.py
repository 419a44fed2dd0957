# SPDX-License-Identifier: Apache-2.0
"""The processes of one sample, as the runner sees them: started, let go together, watched, and ended."""

import contextlib
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection, wait
from typing import Callable, Dict, Iterator, List, Sequence, Type, TypeVar

from worker import Done, Failed, Job, Message, Ready, Start, Verified, measure, verify

M = TypeVar("M", Ready, Done, Verified)
HEAD_START_S = 0.02  # from the last one's word to the common start, so that it has reached all
STOP_S = 5.0
#: A sample that takes longer hangs: this much, and the time of its bytes at a speed that nobody would measure.
PATIENCE_S = 120.0
SLOWEST_BYTES_PER_S = 10e6

_spawn = multiprocessing.get_context("spawn")
Entry = Callable[[Job, "Connection[Message, Start]"], None]


class SampleError(Exception):
    """A sample that gave no result, and why."""


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Starts processes whole or not at all, and out of Ctrl-C's reach, which the terminal sends to all of them.

    Children inherit the mask. It does not keep an interrupt from this process, where another thread may take it, so
    that one that comes in between is put off.
    """
    caught: List[int] = []
    handlers = {n: signal.signal(n, lambda n, _: caught.append(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt


class Team:
    """Processes for as long as the ``with`` block runs."""

    def __init__(self, entry: Entry, jobs: Sequence[Job]) -> None:
        nbytes = sum(r.length for job in jobs for r in job.share)
        self._deadline = time.monotonic() + PATIENCE_S + nbytes / SLOWEST_BYTES_PER_S
        self._entry, self._jobs = entry, jobs
        self._processes: List[multiprocessing.process.BaseProcess] = []
        self._pipes: List[Connection[Start, Message]] = []

    def __enter__(self) -> "Team":
        try:
            with _undisturbed():
                for job in self._jobs:
                    self._start(job)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _start(self, job: Job) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=self._entry, args=(job, theirs), daemon=True)
        self._pipes.append(ours)
        process.start()
        self._processes.append(process)
        # Only the child has this end now, so that its death is an end of file here.
        theirs.close()

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(STOP_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        for pipe in self._pipes:
            pipe.close()

    def collect(self, kind: Type[M]) -> List[M]:
        """One message of this kind from each, in their order. SampleError when one fails, dies or hangs."""
        answers: Dict[int, M] = {}
        waiting = {id(pipe): number for number, pipe in enumerate(self._pipes)}
        while len(answers) < len(self._pipes):
            left = [pipe for pipe in self._pipes if waiting[id(pipe)] not in answers]
            ready = wait(left, max(0.0, self._deadline - time.monotonic()))
            if not ready:
                raise SampleError(f"{len(left)} of {len(self._pipes)} processes gave no result in time")
            for pipe in ready:
                number = waiting[id(pipe)]
                answers[number] = self._receive(number, kind)
        return [answers[number] for number in range(len(self._pipes))]

    def _receive(self, number: int, kind: Type[M]) -> M:
        try:
            message = self._pipes[number].recv()
        except (EOFError, ConnectionResetError):
            raise SampleError(f"process {number + 1} of {len(self._pipes)} died: {self._fate(number)}") from None
        if isinstance(message, Failed):
            raise SampleError(message.text)
        assert isinstance(message, kind)
        return message

    def _fate(self, number: int) -> str:
        process = self._processes[number]
        process.join(STOP_S)
        code = process.exitcode
        if code is None:
            return "its pipe is closed"
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit status {code}"

    def go(self) -> None:
        """Gives all of them the same time to begin at."""
        at = time.monotonic() + HEAD_START_S
        for number, pipe in enumerate(self._pipes):
            try:
                pipe.send(Start(at))
            except BrokenPipeError:
                raise SampleError(f"process {number + 1} died: {self._fate(number)}") from None


def run_sample(jobs: Sequence[Job]) -> "tuple[List[Ready], List[Done]]":
    """One sample: what each process said before and after it."""
    with Team(measure, jobs) as team:
        ready = team.collect(Ready)
        team.go()
        return ready, team.collect(Done)


def run_verification(job: Job) -> str:
    """SHA-256 of what a way delivers."""
    with Team(verify, [job]) as team:
        return team.collect(Verified)[0].digest
