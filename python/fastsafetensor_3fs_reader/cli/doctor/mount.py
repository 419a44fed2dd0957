# SPDX-License-Identifier: Apache-2.0
"""The mounts, PATH's place on them, the daemon behind, and a real read."""

import os
from typing import Any, Callable, Dict, List, Optional

from .. import child
from ..output import bytes_text
from . import live
from .lines import BAD, NONE, OK, WARN, Line
from .mountinfo import Mount, mount_of, mounts

SILENCE_S = 5.0
Found = Dict[str, Any]

SHARE = "share the host's: docker run --ipc=host, or -v /dev/shm:/dev/shm; Kubernetes: hostIPC, or a hostPath volume"


# ------------------------------------------------------------------ what is mounted


def _mounts_line(mounted: List[Mount]) -> Line:
    if mounted:
        return Line("3FS mount", OK, ", ".join(f"{mount.point} ({mount.source})" for mount in mounted))
    return Line(
        "3FS mount",
        BAD,
        "none: nothing of type fuse.hf3fs is mounted here",
        "mount 3FS (hf3fs_fuse_main); in a container pass it in: docker run -v /mnt/3fs:/mnt/3fs:rslave;"
        " to try things without 3FS: fst3fs serve DIR MOUNT",
    )


def _elsewhere(path: str, mount: Optional[Mount], mounted: List[Mount]) -> Line:
    where = f"{mount.point} ({mount.fstype})" if mount else "no mount at all"
    points = ", ".join(m.point for m in mounted if not m.is_part)
    return Line(
        "path",
        BAD,
        f"{path} is on {where}, not on 3FS: it is read through the operating system",
        f"give a path on a 3FS mount{': ' + points if points else ''}",
    )


def _part(path: str, mount: Mount) -> Line:
    return Line(
        "path",
        BAD,
        f"{path} is on {mount.point}, where only the subdirectory {mount.root} of a 3FS ({mount.source}) is bound,"
        " without its 3fs-virt: it is read through the operating system",
        f"pass in the whole mount, or its 3fs-virt as well: mount --bind /mnt/3fs/3fs-virt {mount.point}/3fs-virt"
        f" (docker run -v /mnt/3fs/3fs-virt:{mount.point}/3fs-virt)",
    )


def _path_line(path: str, found: Found, mounted: List[Mount]) -> Line:
    real = str(found.get("real", path))
    mount = mount_of(real, mounts())
    if found.get("mount"):
        link = f" ({real})" if real != path else ""
        return Line("path", OK, f"{path}{link} is on {found['mount']}")
    if mount is not None and mount.is_3fs and mount.is_part:
        return _part(path, mount)
    return _elsewhere(path, mount, mounted)


# ------------------------------------------------------------------ what stopped the look


def _gone(mount: Mount, error: str) -> Line:
    return Line(
        "daemon",
        BAD,
        f"of {mount.point} is gone: {error}",
        f"umount -l {mount.point}, then mount 3FS again; its log says why it ended",
    )


def _silent(mount: Mount, why: str) -> Line:
    return Line(
        "daemon",
        BAD,
        f"of {mount.point} hangs: {why}",
        f"look at the process (hf3fs_fuse_main) and its log; umount -l {mount.point} and mount again if it stays so."
        " Reads end with TimeoutError after FST3FS_TIMEOUT",
    )


def _not_ours(mount: Mount, error: str) -> Line:
    owner = mount.options.get("user_id", "?")
    return Line(
        "access",
        BAD,
        f"{mount.point} was mounted by user {owner} for that user alone, and this is user {os.geteuid()}: {error}",
        "mount it with -o allow_other (and user_allow_other in /etc/fuse.conf), or run as that user",
    )


def _is_anothers(mount: Mount) -> bool:
    owner = mount.options.get("user_id")
    return "allow_other" not in mount.options and owner is not None and owner != str(os.geteuid())


def _failure(mount: Optional[Mount], found: Found, outcome: child.Outcome) -> Line:
    """The line for what stopped the look."""
    code, error = found.get("code", ""), str(found.get("error", ""))
    what = {"resolve": "path", "answer": "daemon", "register": "registration", "read": "read"}[_last_step(outcome)]
    if what == "read":
        return Line(
            what, BAD, error, "the daemon answers and its reads do not return: look at its log, storage, network"
        )
    if mount is None or not mount.is_3fs or what == "registration":
        return Line(what, BAD, error, "docs/troubleshooting.md says more about this message")
    if code in ("ENOTCONN", "ECONNABORTED"):
        return _gone(mount, error)
    if code in ("EACCES", "EPERM") and _is_anothers(mount):
        return _not_ours(mount, error)
    return Line(what, BAD, error)


def _last_step(outcome: child.Outcome) -> str:
    """The first of the steps that gave nothing."""
    return next(step for step in ("resolve", "answer", "register", "read") if step not in outcome.found)


def _lost(mount: Optional[Mount], outcome: child.Outcome) -> Line:
    if outcome.hung and mount is not None and mount.is_3fs:
        return _silent(mount, f"{outcome.why} (at the step {outcome.lost_at!r})")
    where = mount.point if mount else "the file system"
    return Line("path", BAD, f"{where}: {outcome.why} (at the step {outcome.lost_at!r})")


# ------------------------------------------------------------------ what went well


def _answer_lines(mount: str, found: Found) -> List[Line]:
    daemon = Line("daemon", OK, f"of {mount} answers in {found['seconds'] * 1e3:.1f} ms")
    if found["shared"]:
        return [daemon, Line("/dev/shm shared", OK, "with the daemon")]
    said = f"this /dev/shm is not the daemon's: the semaphore {found['semaphore']}, on which it waits, is not in it"
    return [daemon, Line("/dev/shm shared", BAD, said, SHARE)]


def _register_lines(mount: str, found: Found) -> List[Line]:
    size = found["buffer_size"] >> 20
    return [Line("registration", OK, f"a buffer of {size} MiB and a ring, in {found['seconds'] * 1e3:.1f} ms")]


def _read_lines(mount: str, found: Found) -> List[Line]:
    if not found["file"]:
        return [Line("read", NONE, "no file to read was found", "give the path of a model: fst3fs doctor PATH")]
    rate = found["nbytes"] / found["seconds"]
    said = f"{bytes_text(rate)}/s for {found['seconds']:.2f} s"
    if "in_flight" in found:
        said += f", {found['in_flight']:.0f} requests in flight that take {found['latency_us'] / 1e3:.2f} ms each"
    said += f"; a small one alone takes {found['alone_s'] * 1e3:.2f} ms ({found['file']})"
    if found["size"] < live.ENOUGH:
        return [Line("read", WARN, said, "the file is small, so this says little: give the path of a large one")]
    return [Line("read", OK, said)]


WELL: Dict[str, Callable[[str, Found], List[Line]]] = {
    "answer": _answer_lines,
    "register": _register_lines,
    "read": _read_lines,
}


def _judge(path: str, outcome: child.Outcome, mounted: List[Mount]) -> List[Line]:
    lines = []
    resolved = outcome.found.get("resolve", {})
    if resolved:
        lines.append(_path_line(path, resolved, mounted))
    for step, well in WELL.items():
        if step in outcome.found:
            lines += well(resolved["mount"], outcome.found[step])
    mount = mount_of(str(resolved.get("mount") or path), mounts())
    if "failed" in outcome.found:
        lines.append(_failure(mount, outcome.found["failed"], outcome))
    elif outcome.lost_at:
        lines.append(_lost(mount, outcome))
    return lines


def lines(path: Optional[str]) -> List[Line]:
    """For a path, or for every 3FS that is mounted."""
    mounted = [mount for mount in mounts() if mount.is_3fs]
    found = [_mounts_line(mounted)]
    whole = dict.fromkeys(mount.point for mount in mounted if not mount.is_part and not mount.is_virtual)
    for place in [os.path.abspath(path)] if path is not None else whole:
        found += _judge(place, child.run(live.look, place, silence_s=SILENCE_S), mounted)
    return found
