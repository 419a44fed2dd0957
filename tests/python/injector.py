# SPDX-License-Identifier: Apache-2.0
"""Runs a scenario again and again, in a child made by fork, each time with another call of ours failing."""

import ctypes
import errno
import faulthandler
import gc
import json
import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Protocol, Set, Tuple

from support import eventually, open_fds, shm_objects, threads

#: Seconds that a turn may take before it counts as a hang.
DEADLINE = 120


class Scenario(Protocol):
    """What a turn runs."""

    #: Whose registrations are counted.
    mount: str

    def prepare(self) -> None:
        """What is there before anything of ours."""

    def before(self) -> None:
        """What comes before ``run``, and does not fail."""

    def run(self) -> None:
        """What fails."""

    def look(self) -> None:
        """Whether a run that came through did what it should."""

    def again(self) -> None:
        """That the same reader, or the next one, works after all."""

    def after(self) -> None:
        """Ends it."""


class Call(NamedTuple):
    """A call that was made: of what, and from which place of our code."""

    function: str
    place: int


class Fault(NamedTuple):
    """The call that fails: the ``nth`` from a place, with its first errno or the second. Place 0: none does."""

    place: int = 0
    nth: int = 0
    second: bool = False


NO_FAULT = Fault()


class Injector:
    """The library of tests/inject."""

    def __init__(self, path: str) -> None:
        self._lib = lib = ctypes.CDLL(path)
        for function in (lib.inject_failed, lib.inject_call, lib.inject_where):
            function.restype = ctypes.c_char_p
        for function in (lib.inject_disarm, lib.inject_held, lib.inject_mapped):
            function.restype = ctypes.c_long
        lib.inject_holder.restype = ctypes.c_size_t

    def hook(self, library: str) -> None:
        assert self._lib.inject_hook(os.fsencode(library)) > 10, f"{library} imports nothing"

    def arm(self, fault: Fault) -> None:
        self._lib.inject_arm(ctypes.c_size_t(fault.place), ctypes.c_long(fault.nth), fault.second)

    def disarm(self) -> int:
        """How many calls there were."""
        return int(self._lib.inject_disarm())

    def has_second(self, function: str) -> bool:
        return bool(self._lib.inject_has_second(function.encode()))

    def failed(self) -> Tuple[str, int]:
        """The function and the errno; "" when nothing did."""
        code = ctypes.c_int()
        return self._lib.inject_failed(ctypes.byref(code)).decode(), code.value

    def call(self, nth: int) -> Call:
        place = ctypes.c_size_t()
        name = self._lib.inject_call(ctypes.c_long(nth), ctypes.byref(place))
        return Call(name.decode(), place.value)

    def where(self, place: int) -> str:
        """As addr2line takes it."""
        address = ctypes.c_size_t()
        library = self._lib.inject_where(ctypes.c_size_t(place), ctypes.byref(address))
        return f"{os.path.basename(library.decode())}+{address.value:#x}"

    def held(self) -> Tuple[int, int]:
        """Allocations, and bytes of mappings."""
        return int(self._lib.inject_held()), int(self._lib.inject_mapped())

    def holders(self) -> List[str]:
        """Where what is held was allocated."""
        found: List[str] = []
        while place := self._lib.inject_holder(ctypes.c_long(len(found))):
            found.append(self.where(place))
        return found


def lack(error: BaseException, function: str, code: int) -> str:
    """What an error lacks as the word on ``function`` that failed with ``code``, or ""."""
    if function in ("", "PyErr_CheckSignals"):  # nothing failed; Ctrl-C
        return "" if function and isinstance(error, KeyboardInterrupt) else "a reason"
    if isinstance(error, MemoryError):
        return "" if code == errno.ENOMEM or function.startswith(("Py", "_Py")) else "it was not memory"
    if function == "dlopen":
        return "" if "no/such/library" in str(error) or "no memory" in str(error) else "what the loader says"
    if not isinstance(error, OSError) or error.errno != code:
        return os.strerror(code)
    return "" if error.filename or error.strerror != os.strerror(code) else "more than an errno"


class Turn:
    """A run with a fault, then one without; and what is left then."""

    def __init__(self, injector: Injector, scenario: Scenario, fault: Fault) -> None:
        self._injector, self._scenario, self._fault = injector, scenario, fault
        self.wrong: List[str] = []
        self.error = ""

    def go(self) -> Dict[str, Any]:
        injector, scenario = self._injector, self._scenario
        scenario.prepare()
        fds, others = open_fds(), threads()
        scenario.before()
        calls = self._run()
        failed, code = injector.failed()
        called = [] if failed else [injector.call(nth) for nth in range(1, calls + 1)]
        self._afterwards()
        gc.collect()
        self._nothing_left(fds, others)
        held, mapped = injector.held()
        return {
            "fault": f"{failed or 'nothing'} {injector.where(self._fault.place)}, {os.strerror(code)}",
            "error": self.error,
            "wrong": self.wrong,
            "called": called,
            "held": held,
            "mapped": mapped,
            "holders": injector.holders(),
        }

    def _run(self) -> int:
        self._injector.arm(self._fault)
        try:
            self._scenario.run()
            calls = self._injector.disarm()
            self._scenario.look()
        except BaseException as e:
            calls = self._injector.disarm()
            self.error = f"{type(e).__name__}: {e}"
            missing = lack(e, *self._injector.failed())
            if missing:
                self.wrong.append(f"the error lacks: {missing}")
        return calls

    def _afterwards(self) -> None:
        try:
            self._scenario.again()
        except BaseException as e:
            self.wrong.append(f"afterwards {type(e).__name__}: {e}")
        self._scenario.after()

    def _nothing_left(self, fds: Set[str], others: Set[str]) -> None:
        looks: Dict[str, Callable[[], Any]] = {
            "objects": lambda: shm_objects(os.getpid()),
            "fds": lambda: open_fds() - fds,
            "threads": lambda: threads() - others,
            "registrations": lambda: registrations(self._scenario.mount),
        }
        for what, look in looks.items():
            if not eventually(lambda look=look: not look()):
                self.wrong.append(f"left {what}: {look()}")


def registrations(mount: str) -> List[str]:
    return [name for name in os.listdir(f"{mount}/3fs-virt/iovs") if not name.startswith("submit-ios")]


def in_a_child(injector: Injector, scenario: Scenario, fault: Fault = NO_FAULT) -> Dict[str, Any]:
    """What its turn says; a crash and a hang are among what is wrong."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(DEADLINE, exit=True)
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            json.dump(Turn(injector, scenario, fault).go(), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        return json.loads(text)
    how = f"killed by signal {-status}" if status < 0 else "hung, or ended by itself"
    return {"fault": injector.where(fault.place), "error": "", "wrong": [how], "held": 0, "mapped": 0, "holders": []}


def more_than(clean: Dict[str, Any], result: Dict[str, Any]) -> List[str]:
    """What is held that a clean run gave back."""
    found = []
    if result["held"] > clean["held"]:
        extra = list(result["holders"])
        for place in clean["holders"]:
            if place in extra:
                extra.remove(place)
        found.append(f"{result['held'] - clean['held']} allocations left, of {extra}")
    if result["mapped"] > clean["mapped"]:
        found.append(f"{result['mapped'] - clean['mapped']} bytes left mapped")
    return found


class Pass:
    """All turns of many scenarios: every call, or of each place in the code the first one anywhere."""

    def __init__(self, injector: Injector, every_call: bool) -> None:
        self._injector, self._every_call = injector, every_call
        self._seen: Set[Call] = set()
        self.turns = 0

    def run(self, name: str, scenario: Scenario) -> Iterator[str]:
        """What is wrong, a line each."""
        clean = in_a_child(self._injector, scenario)
        yield from (f"{name}, undisturbed: {wrong}" for wrong in [clean["error"], *clean["wrong"]] if wrong)
        for call, fault in self._faults([Call(*call) for call in clean.get("called", [])]):
            result = in_a_child(self._injector, scenario, fault)
            self.turns += 1
            for wrong in [*result["wrong"], *more_than(clean, result)]:
                yield f"{name}, call {fault.nth} of {call.function} at {result['fault']}: {wrong}: {result['error']}"

    def _faults(self, called: List[Call]) -> Iterator[Tuple[Call, Fault]]:
        times: Dict[Call, int] = {}
        for call in called:
            times[call] = times.get(call, 0) + 1
            if call in self._seen and not self._every_call:
                continue
            self._seen.add(call)
            yield call, Fault(call.place, times[call])
            if self._injector.has_second(call.function):
                yield call, Fault(call.place, times[call], second=True)
