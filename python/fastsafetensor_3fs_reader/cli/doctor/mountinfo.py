# SPDX-License-Identifier: Apache-2.0
"""The mounts of this process, without touching any of them."""

import os
from typing import Dict, List, NamedTuple, Optional

from ...mounts import FSTYPE, VIRTUAL_DIRECTORY, is_prefix, unescape


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo. ``root`` is which folder of the file system is mounted here."""

    point: str
    root: str
    fstype: str
    source: str
    options: Dict[str, str]

    @property
    def is_3fs(self) -> bool:
        return self.fstype == os.fsdecode(FSTYPE)

    @property
    def is_virtual(self) -> bool:
        """The virtual directory alone, which stands for the folder that it is in."""
        return os.path.basename(self.point) == os.fsdecode(VIRTUAL_DIRECTORY)

    @property
    def is_part(self) -> bool:
        """A folder of a 3FS, bound to another place, without the virtual directory."""
        return self.root != "/" and not self.is_virtual


def _parse(line: bytes) -> Mount:
    fields = line.rstrip(b"\n").split(b" ")
    dash = fields.index(b"-", 6)
    options = b",".join((fields[5], fields[dash + 3])).split(b",")
    pairs = (os.fsdecode(option).partition("=") for option in options)
    return Mount(
        point=os.fsdecode(unescape(fields[4])),
        root=os.fsdecode(unescape(fields[3])),
        fstype=os.fsdecode(fields[dash + 1]),
        source=os.fsdecode(unescape(fields[dash + 2])),
        options={name: value for name, _, value in pairs},
    )


def mounts() -> List[Mount]:
    with open("/proc/self/mountinfo", "rb") as file:
        return [_parse(line) for line in file]


def mount_of(path: str, among: List[Mount]) -> Optional[Mount]:
    """Of an absolute path without symlinks. Of several at one place the last covers the others."""
    best = None
    for mount in among:
        if is_prefix(os.fsencode(mount.point), os.fsencode(path)) and (
            best is None or len(mount.point) >= len(best.point)
        ):
            best = mount
    return best
