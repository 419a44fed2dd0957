# SPDX-License-Identifier: Apache-2.0
"""Names in /dev/shm that tell who made them, so that whoever comes next can take away what the dead have left.

include/hf3fs_usrbio.h has the rule.
"""

import os
import secrets
from uuid import UUID

PID_BITS, START_BITS, NAMESPACE_BITS, RANDOM_BITS = 22, 36, 24, 40
_FIELD_OF_START = 22 - 3  # among those behind the command, which may hold anything


def _start_time() -> int:
    """Of this process, in ticks since boot. Of its first thread: qemu-user makes up what a process sees of its own.

    /proc may be another pid namespace's, in which this process has another number.
    """
    with open(f"/proc/self/task/{os.readlink('/proc/self')}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[_FIELD_OF_START])


def owner_name() -> str:
    bits = 0
    for value, width in (
        (os.getpid(), PID_BITS),
        (_start_time(), START_BITS),
        (os.stat("/proc/self/ns/pid").st_ino, NAMESPACE_BITS),
        (secrets.randbits(RANDOM_BITS), RANDOM_BITS),
    ):
        bits = bits << width | value & ((1 << width) - 1)
    # 122 bits, around the four of the version, 8, and the two of the variant.
    high, middle, low = bits >> 74, bits >> 62 & 0xFFF, bits & ((1 << 62) - 1)
    return f"hf3fs-iov-{UUID(int=high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low)}"
