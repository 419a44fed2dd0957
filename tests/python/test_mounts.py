# SPDX-License-Identifier: Apache-2.0
"""Mount points: their names, their nesting, and files that are on none."""

import logging
import os
from pathlib import Path
from typing import Callable

import pytest
from support import MIB, Mount, Target, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader, extract_mount_point, mounts


def both(path: str) -> str:
    """What the C library and the pure Python version say, which must be the same."""
    found = extract_mount_point(path)
    assert mounts.extract_mount_point(path) == found
    return found


NAMES = [
    "with space",
    "caf\xe9 \u6a21\u578b",
    "tab\tand\\backslash",
    "new\nline",
    os.fsdecode(b"not-utf8-\xff"),
    "a/b/c",
    "#1 040",
]


@pytest.mark.parametrize("name", NAMES)
def test_mount_points_of_any_name(serve: Callable, open_reader: Callable, name: str) -> None:
    mount = serve(name=name)
    data = random_bytes(100_000)
    path = mount.write("folder/data file", data)
    assert both(path) == str(mount.path)
    reader = open_reader(mount)
    assert reader.mount_point == str(mount.path)
    target = Target(len(data))
    assert reader.read_chunked(path, target.address, 0, len(data)) == len(data)
    target.check(data)


def test_one_mount_point_is_a_prefix_of_the_other(serve: Callable, open_reader: Callable) -> None:
    first, second = serve(name="3fs"), serve(name="3fs2")
    contents = {first: random_bytes(50_000, seed=1), second: random_bytes(50_000, seed=2)}
    for mount, data in contents.items():
        path = mount.write("model", data)
        assert both(path) == str(mount.path)
    for mount, data in contents.items():
        target = Target(len(data))
        path = str(mount.path / "model")
        assert open_reader(mount).read_chunked(path, target.address, 0, len(data)) == len(data)
        target.check(data)
        assert mount.stats()["bytes"] == len(data)


def test_a_mount_below_another(serve: Callable, open_reader: Callable) -> None:
    outer = serve(name="outer", backing="outside")
    (outer.backing / "inner").mkdir()
    inner = Mount(outer.backing.parent / "inside", outer.path / "inner" / "mnt")
    try:
        path = inner.write("file", random_bytes(9000))
        assert both(path) == str(inner.path)
        assert both(str(inner.path.parent)) == str(outer.path)
        target = Target(9000)
        assert open_reader(inner).read_chunked(path, target.address, 0, 9000) == 9000
        target.check(random_bytes(9000))
    finally:
        inner.stop()


def test_extract_mount_point(mount: Mount, scratch: Path) -> None:
    path = mount.write("folder/file", b"data")
    assert both(path) == str(mount.path)
    assert both(str(mount.path)) == str(mount.path)
    assert both(f"{mount.path}/") == str(mount.path)
    assert both(f"{mount.path}/folder/../folder/./file") == str(mount.path)
    assert both(f"{mount.path}/no/such/file") == str(mount.path)
    for elsewhere in ("/", "/tmp", str(scratch), f"{mount.path}x", "/no/such/path"):
        assert both(elsewhere) == ""
    link = scratch / "link"
    link.symlink_to(path)
    assert both(str(link)) == str(mount.path)
    assert extract_mount_point(os.fsencode(path)) == extract_mount_point(Path(path)) == str(mount.path)


def test_a_relative_path(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    mount.write("folder/file", b"data")
    monkeypatch.chdir(mount.path)
    assert both("folder/file") == str(mount.path)


def test_no_mount_point_reads_through_the_operating_system(scratch: Path) -> None:
    data = random_bytes(3 * MIB)
    path = scratch / "local"
    path.write_bytes(data)
    with ThreeFSFileReader("", buffer_size=MIB) as reader:
        target = Target(len(data))
        assert reader.read_chunked(path, target.address, 0, len(data)) == len(data)
        target.check(data)
        info = reader.info()
    assert info["transport"] == "posix"
    assert info["bytes_posix"] == len(data)
    assert info["why_not"]


def test_a_mount_point_that_is_not_3fs(scratch: Path) -> None:
    (scratch / "local").write_bytes(b"data")
    with ThreeFSFileReader(str(scratch)) as reader:
        assert reader.read_chunked(scratch / "local", 0, 0, 4) == 4
        info = reader.info()
    assert info["transport"] == "posix"
    assert str(scratch) in info["why_not"]


def test_a_file_off_the_mount_is_read_and_said_once(
    mount: Mount, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = random_bytes(2 * MIB)
    (scratch / "local").write_bytes(data)
    on = mount.write("on", data)
    with caplog.at_level(logging.INFO, "fastsafetensor_3fs_reader"):
        with ThreeFSFileReader(str(mount.path), buffer_size=MIB) as reader:
            for path in (str(scratch / "local"), on, str(scratch / "local")):
                target = Target(len(data))
                assert reader.read_chunked(path, target.address, 0, len(data)) == len(data)
                target.check(data)
            info = reader.info()
    assert (info["transport"], info["bytes"], info["bytes_posix"]) == ("usrbio", 3 * len(data), 2 * len(data))
    said = [r.getMessage() for r in caplog.records if str(scratch / "local") in r.getMessage()]
    assert len(said) == 1
    assert "operating system" in said[0]


def test_one_line_says_what_is_in_use(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fastsafetensor_3fs_reader"), ThreeFSFileReader(str(mount.path)):
        pass
    lines = [r.getMessage() for r in caplog.records if "transport=" in r.getMessage()]
    assert len(lines) == 1
    assert "transport=usrbio client=built-in" in lines[0]
    assert str(mount.path) in lines[0]


def test_listing_a_large_directory(mount: Mount) -> None:
    names = {f"shard-{i:05}-{'x' * (i % 200)}" for i in range(3000)}
    for name in names:
        mount.write(f"large/{name}", b"")
    assert set(os.listdir(mount.path / "large")) == names
