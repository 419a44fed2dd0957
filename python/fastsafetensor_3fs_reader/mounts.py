# SPDX-License-Identifier: Apache-2.0
"""3FS mount points, from /proc/self/mountinfo, for readers without the C library."""

import os
import re
from typing import Iterator, Tuple

from .interface import PathType

FSTYPE = b"fuse.hf3fs"
VIRTUAL_DIRECTORY = b"3fs-virt"


def unescape(field: bytes) -> bytes:
    """mountinfo writes space, tab, newline and backslash as octal."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m.group(1), 8)]), field)


def _mounts() -> Iterator[Tuple[bytes, bytes]]:
    """(mount point, file system type) of every mount that this process sees.

    A mount of the virtual directory alone stands for the directory it is in.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = line.split(b" ")
            mount = unescape(fields[4])
            if os.path.basename(mount) == VIRTUAL_DIRECTORY:
                mount = os.path.dirname(mount)
            yield mount, fields[fields.index(b"-", 6) + 1]


def is_prefix(mount: bytes, path: bytes) -> bool:
    """By path components: /mnt/3fs is no prefix of /mnt/3fs2."""
    return path == mount or path.startswith(mount.rstrip(b"/") + b"/")


def _counts(mount: bytes, fstype: bytes) -> bool:
    any_type = os.environ.get("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP") == "yes"
    return (any_type or fstype == FSTYPE) and os.path.isdir(os.path.join(mount, VIRTUAL_DIRECTORY))


def extract_mount_point(path: PathType) -> str:
    """The 3FS mount point of a path, "" when it is on none."""
    real = os.path.realpath(os.fsencode(path))
    best = b""
    for mount, fstype in _mounts():
        if len(mount) > len(best) and is_prefix(mount, real) and _counts(mount, fstype):
            best = mount
    return os.fsdecode(best)
