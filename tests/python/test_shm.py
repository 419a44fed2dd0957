# SPDX-License-Identifier: Apache-2.0
"""A /dev/shm that is too small, or not the daemon's: as in containers."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from support import MIB, Mount

#: Runs the rest of its arguments where /dev/shm is another, of $SHM_SIZE.
IN_A_NAMESPACE = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=$SHM_SIZE none /dev/shm && exec "$@"', "sh"]


def run_in_a_namespace(shm_mib: int, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "SHM_SIZE": f"{shm_mib}m"}
    return subprocess.run([*IN_A_NAMESPACE, *command], env=environment, capture_output=True, text=True, check=False)


REFUSAL = run_in_a_namespace(1, "true").stderr.strip()
pytestmark = pytest.mark.skipif(REFUSAL != "", reason=f"no mount namespace of one's own here: {REFUSAL}")

#: Tries one thing and prints what came of it.
TRY = textwrap.dedent(
    """
    import contextlib, json, os, sys, time
    from fastsafetensor_3fs_reader import ThreeFSFileReader
    from fastsafetensor_3fs_reader.usrbiod import Usrbiod
    backing, mount, buffer_size, nbytes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # With a backing directory, the daemon runs here and shares this /dev/shm.
    with Usrbiod(backing, mount) if backing else contextlib.nullcontext() as daemon:
        result = {"errno": 0}
        try:
            with ThreeFSFileReader(mount, require="usrbio", buffer_size=buffer_size) as reader:
                reader.alloc(nbytes)
        except OSError as e:
            result = {"errno": e.errno, "text": str(e)}
        result["left"] = [name for name in os.listdir("/dev/shm") if name.startswith("hf3fs-iov-")]
        # Deregistering is left to a thread.
        deadline = time.monotonic() + 10
        result["registered"] = None
        while daemon and result["registered"] != 0 and time.monotonic() < deadline:
            stats = daemon.stats()
            result["registered"] = stats["iovs"] + stats["rings"]
    print(json.dumps(result))
    """
)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not below /dev/shm, which the namespace hides."""
    return tmp_path_factory.mktemp("shm")


def in_a_namespace(shm_mib: int, *arguments: object) -> Dict[str, Any]:
    """What comes of the script there."""
    done = run_in_a_namespace(shm_mib, sys.executable, "-I", "-c", TRY, *map(str, arguments))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def own_daemon(folder: Path) -> Iterator[Path]:
    for name in ("backing", "mnt"):
        (folder / name).mkdir()
        yield folder / name


def test_large_enough(folder: Path) -> None:
    result = in_a_namespace(64, *own_daemon(folder), 16 * MIB, 16 * MIB)
    assert result == {"errno": 0, "left": [], "registered": 0}


@pytest.mark.parametrize(
    ("buffer_size", "nbytes", "asked"), [(64 * MIB, 1, 64 * MIB), (MIB, 32 * MIB, 32 * MIB)], ids=["buffer", "alloc"]
)
def test_too_small(folder: Path, buffer_size: int, nbytes: int, asked: int) -> None:
    result = in_a_namespace(8, *own_daemon(folder), buffer_size, nbytes)
    assert (result["errno"], result["left"], result["registered"]) == (errno.ENOSPC, [], 0)
    # How much is asked for and how much is there, and what to do.
    for fact in ("/dev/shm", f"{asked // MIB}.0 MiB", "of 8.0 MiB are free", "smaller"):
        assert fact in result["text"]


def test_not_the_daemons(folder: Path) -> None:
    mount = Mount(folder / "backing", folder / "mnt")
    try:
        result = in_a_namespace(64, "", mount.path, MIB, 1)
        assert (result["errno"], result["left"]) == (errno.ENOENT, [])
        assert "/dev/shm" in result["text"]
        assert str(mount.path) in result["text"]
        assert mount.registrations() == 0
    finally:
        mount.stop()
