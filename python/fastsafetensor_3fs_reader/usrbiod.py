# SPDX-License-Identifier: Apache-2.0
"""Runs usrbiod, the stand-in for 3FS on one machine: for the demo, the benchmark and the tests."""

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


def find_usrbiod() -> str:
    """$USRBIOD, else the one that was installed with this package, else the one in PATH."""
    forced = os.environ.get("USRBIOD")
    if forced:
        return forced
    installed = os.path.join(sysconfig.get_path("scripts"), "usrbiod")
    found = installed if os.access(installed, os.X_OK) else shutil.which("usrbiod")
    if found is None:
        raise FileNotFoundError(
            "usrbiod is not installed: it is built with this package where libfuse3's development files are"
            " (Debian: libfuse3-dev), so install those and then this package again, or name one in USRBIOD"
        )
    return found


def is_mounted(path: str) -> bool:
    """Without touching the mount itself, whose daemon may be gone."""
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in os.path.realpath(path))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(line.split(" ")[4] == escaped for line in file)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """What Ctrl-C or SIGTERM would raise in the block is raised behind it.

    An exception out of ``Popen`` leaves a process that nobody knows.
    """
    arrived: List[int] = []

    def raise_them() -> None:
        for number in arrived:
            signal.raise_signal(number)

    ours = threading.current_thread() is threading.main_thread()  # they are raised in no other
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if ours and callable(signal.getsignal(n))]
    with ExitStack() as undo:  # which undoes the rest when a signal is raised in the midst of it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        undo.callback(raise_them)
        for number in numbers:
            handler = signal.signal(number, lambda number, _frame: arrived.append(number))
            undo.callback(signal.signal, number, handler)
        undo.callback(signal.pthread_sigmask, signal.SIG_BLOCK, numbers)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield


class Usrbiod:
    """The directory ``backing`` served as a 3FS mount, for as long as the ``with`` block runs.

    Without a mount point it is one of its own, below the folder for temporary files; ``mount_point`` says which.
    The daemon has a session of its own, so that Ctrl-C reaches this process alone, and ends with this process even
    when that is killed.
    """

    def __init__(self, backing: str, mount_point: Optional[str] = None, *options: str) -> None:
        binary = find_usrbiod()
        self._folder = tempfile.mkdtemp(prefix="fst3fs-usrbiod-")
        self._own_mount_point = os.path.join(self._folder, "3fs")
        os.mkdir(self._own_mount_point)
        self.mount_point = self._own_mount_point if mount_point is None else mount_point
        self._log = os.path.join(self._folder, "log")
        self._stats = os.path.join(self._folder, "stats.json")
        self._command = [binary, "-f", "--stats", self._stats, *options, backing, self.mount_point]
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    @property
    def returncode(self) -> Optional[int]:
        """The exit status, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """What the daemon has printed so far."""
        with open(self._log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stats(self) -> Dict[str, Any]:
        """The daemon's counters: now, or at its end when it has ended."""
        if self.returncode is None:
            if os.path.exists(self._stats):
                os.unlink(self._stats)
            os.kill(self.pid, signal.SIGUSR1)
        self._wait_for(lambda: os.path.exists(self._stats), "statistics")
        # It is put in its place whole.
        with open(self._stats, encoding="utf-8") as file:
            stats: Dict[str, Any] = json.load(file)
            return stats

    def start(self) -> "Usrbiod":
        try:
            with open(self._log, "wb") as log, _interrupts_later():
                self._process = subprocess.Popen(
                    self._dying_with_us() + self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._wait_for(lambda: is_mounted(self.mount_point), f"a mount at {self.mount_point}")
        except BaseException:
            self.stop()
            self.discard()
            raise
        return self

    def _wait_for(self, there: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not there():
            if self.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"usrbiod did not give {what}: {self.output().strip()}")
            time.sleep(0.005)

    def stop(self) -> int:
        """Ends the daemon, which unmounts; does it for a dead one. Its exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if is_mounted(self.mount_point):
            self._unmount()
        return self._process.returncode

    def discard(self) -> None:
        """Removes the log, the counters, and a mount point of its own, after the end."""
        # Never what is served there, should a mount not have gone.
        if not is_mounted(self._own_mount_point):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _unmount(self) -> None:
        """What a killed daemon leaves behind: a mount that answers nothing."""
        commands = [["fusermount3", "-u", "-z", self.mount_point], ["umount", "-l", self.mount_point]]
        for command in commands:
            if shutil.which(command[0]) and is_mounted(self.mount_point):
                subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def _dying_with_us() -> List[str]:
        """util-linux's setpriv has the kernel end the daemon when this process ends."""
        return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []

    def __enter__(self) -> "Usrbiod":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self.discard()
