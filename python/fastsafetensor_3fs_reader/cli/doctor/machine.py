# SPDX-License-Identifier: Apache-2.0
"""What the machine, or the container, gives this process: shared memory, process ids, limits."""

import ctypes
import mmap
import os
import re
import resource
from typing import List

from ...settings import SETTINGS, environment_name, resolve
from ..output import bytes_text
from .lines import BAD, OK, WARN, Line

MIB = 1 << 20
SHM = "/dev/shm"
#: What a reader takes unless it is told otherwise, and a node with eight of them.
BUFFER = 64 * MIB
READERS = 8
#: /proc/self/ns/pid of a process that is in no container: PROC_PID_INIT_INO of the kernel.
FIRST_PID_NAMESPACE = "pid:[4026531836]"
#: What the official library allocates for each fd up to the hard limit.
LIBRARY_BYTES_PER_FD = 8
LIBRARY_TOO_MUCH = 256 * MIB
FEW_FDS = 1024


def _shm_line() -> Line:
    shm = os.statvfs(SHM)
    free, size = shm.f_bavail * shm.f_frsize, shm.f_blocks * shm.f_frsize
    said = f"{free / MIB:,.0f} of {size / MIB:,.0f} MiB are free"
    more = (
        "containers: docker run --shm-size=8g, or the host's with --ipc=host; else: mount -o remount,size=50% /dev/shm"
    )
    if size == 0:  # no limit was set
        return Line("/dev/shm size", OK, "without a limit")
    if free < BUFFER:
        why = f"too little for one reader, which takes {BUFFER // MIB} MiB"
        full = f"full: {said}" if free < MIB else said
        return Line(
            "/dev/shm size",
            BAD,
            f"{full}, {why}",
            f"remove what nobody needs there (ls -l /dev/shm), or make it larger; {more}",
        )
    if free < READERS * BUFFER:
        return Line("/dev/shm size", WARN, f"{said}, too little for {READERS} readers of {BUFFER // MIB} MiB", more)
    return Line("/dev/shm size", OK, said)


# ------------------------------------------------------------------ process ids


def _daemon_namespaces() -> List[str]:
    """Those of the 3FS daemons that this process can see."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as comm:
                if re.match("hf3fs_fuse|usrbiod", comm.read()):
                    found.append(os.readlink(f"/proc/{pid}/ns/pid"))
        except OSError:
            continue
    return found


def _pid_line() -> Line:
    own = os.readlink("/proc/self/ns/pid")
    if own == FIRST_PID_NAMESPACE:
        return Line("pid namespace", OK, "the host's")
    if own in _daemon_namespaces():
        return Line("pid namespace", OK, "the daemon's")
    return Line(
        "pid namespace",
        WARN,
        "not the host's, and no 3FS daemon is in it: when it cannot tell its clients apart, one that ends takes away"
        " what all others have registered",
        "docker run --pid=host; Kubernetes: hostPID",
    )


# ------------------------------------------------------------------ limits


def _can_lock(nbytes: int) -> bool:
    """Page-locks memory, as a reader's buffer is for the copies of a GPU."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = mmap.mmap(-1, nbytes)
    anchor = ctypes.c_char.from_buffer(memory)
    locked: bool = libc.mlock(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(nbytes)) == 0
    del anchor
    memory.close()  # which unlocks it
    return locked


def _limit_text(limit: int, unit: str = "") -> str:
    if limit == resource.RLIM_INFINITY:
        return "unlimited"
    return bytes_text(limit) if unit else f"{limit:,}"


def _memlock_line() -> Line:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    said = f"limit {_limit_text(limit, 'B')}"
    if _can_lock(BUFFER):
        return Line("memlock", OK, f"{said}; {BUFFER // MIB} MiB could be page-locked")
    return Line(
        "memlock",
        WARN,
        f"{said}: {BUFFER // MIB} MiB cannot be page-locked, so copies into a GPU may be slow (into host memory not)",
        "ulimit -l unlimited; docker run --ulimit memlock=-1; systemd: LimitMEMLOCK=infinity",
    )


def fd_line(soft: int, hard: int, library_wanted: bool) -> Line:
    """``library_wanted``: the official library will be loaded."""
    said = f"{_limit_text(soft)}, hard {_limit_text(hard)}"
    table = LIBRARY_BYTES_PER_FD * hard
    if hard == resource.RLIM_INFINITY or table > LIBRARY_TOO_MUCH:
        much = "without end" if hard == resource.RLIM_INFINITY else bytes_text(table)
        return Line(
            "open files",
            BAD if library_wanted else WARN,
            f"{said}: the official library takes 8 bytes for each when it is loaded, {much}"
            + ("" if library_wanted else "; it is not in use here"),
            "lower the hard limit: ulimit -Hn 1048576; docker run --ulimit nofile=1048576; or FST3FS_USRBIO=builtin",
        )
    if soft < FEW_FDS:
        return Line("open files", WARN, f"{said}: few for a model of many files", f"ulimit -n {min(hard, 65536)}")
    return Line("open files", OK, said)


def _fd_line(library_wanted: bool) -> Line:
    return fd_line(*resource.getrlimit(resource.RLIMIT_NOFILE), library_wanted)


# ------------------------------------------------------------------ settings


def _settings_line() -> Line:
    given = [environment_name(name) for name in SETTINGS if environment_name(name) in os.environ]
    try:
        values = [
            f"{environment_name(name)}={resolve(name, None)}" for name in SETTINGS if environment_name(name) in given
        ]
    except ValueError as e:
        return Line("settings", BAD, str(e), "correct it, or unset it")
    return Line("settings", OK, " ".join(values) or "all defaults")


def lines(library_wanted: bool) -> List[Line]:
    return [_shm_line(), _pid_line(), _memlock_line(), _fd_line(library_wanted), _settings_line()]
