# SPDX-License-Identifier: Apache-2.0
"""Children that are somebody else."""

import os
import traceback
from typing import Any, Callable

import pytest

#: Nobody's and daemon's, on Debian and elsewhere; any two would do.
ALICE, MALLORY = 65534, 1

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users")


class Child:
    """A process of another user's that runs ``work(say, hear)``; what it raises, the test gets to see.

    ``say`` gives a line to the test, and ``hear`` takes one from it, "" at the end.
    """

    def __init__(self, uid: int, work: Callable[[Callable[[str], None], Callable[[], str]], None]) -> None:
        hears, tells = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(hears[1])
            os.close(tells[0])
            self._be(uid, work, os.fdopen(hears[0]), os.fdopen(tells[1], "w"))
        os.close(hears[0])
        os.close(tells[1])
        self._to, self._from = os.fdopen(hears[1], "w"), os.fdopen(tells[0])

    @staticmethod
    def _be(uid: int, work: Callable[..., None], hears: Any, tells: Any) -> None:
        """Never returns."""

        def say(line: str) -> None:
            print(line, file=tells, flush=True)

        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            work(say, lambda: hears.readline().rstrip("\n"))
            status = 0
        except BaseException:
            say("FAILED " + traceback.format_exc().replace("\n", "\n  "))
        finally:
            os._exit(status)

    def hear(self) -> str:
        line = self._from.readline().rstrip("\n")
        assert not line.startswith("FAILED"), line + "\n" + self._from.read()
        return line

    def say(self, line: str = "") -> None:
        print(line, file=self._to, flush=True)

    def end(self) -> None:
        """Waits for it, and fails if it did."""
        try:
            self._to.close()
            said = self._from.read()
            self._from.close()
        finally:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert status == 0, f"ended with {status}: {said}"


def as_user(uid: int, work: Callable[[], None]) -> None:
    """Does it as another user, to its end."""
    Child(uid, lambda say, hear: work()).end()


def refused(call: Callable[[], Any]) -> None:
    """The call fails for want of a right."""
    with pytest.raises(PermissionError):
        call()
