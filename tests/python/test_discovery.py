# SPDX-License-Identifier: Apache-2.0
"""Where libhf3fs_api_shared.so is looked for, what is refused there and why, and what is read through it."""

import ctypes
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from support import MIB, Mount, Target, dropin, eventually, python, random_bytes, run_python, shm_objects

from fastsafetensor_3fs_reader import ThreeFSFileReader, create_reader, get_hf3fs_lib_path, hf3fs_lib

NAME = "libhf3fs_api_shared.so"


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> Path:
    """No library anywhere: site-packages is an empty folder."""
    for name in ("HF3FS_LIB_DIR", "LD_LIBRARY_PATH", "FST3FS_USRBIO"):
        monkeypatch.delenv(name, raising=False)
    site = scratch / "site"
    site.mkdir()
    monkeypatch.setattr(hf3fs_lib, "SITES", (str(site),))
    return site


def put(folder: Path, name: str = NAME) -> str:
    """A library that works."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(dropin(), folder / name)
    return str(folder / name)


def replace(path: str, old: bytes, new: bytes, at: int = -1) -> None:
    data = Path(path).read_bytes()
    where = at if at >= 0 else data.index(old)
    assert len(old) == len(new)
    assert data[where : where + len(old)] == old
    Path(path).write_bytes(data[:where] + new + data[where + len(old) :])


def break_architecture(path: str) -> None:
    machine = Path(path).read_bytes()[18:20]
    replace(path, machine, b"\xf3\x00" if machine != b"\xf3\x00" else b"\x3e\x00", at=18)


def break_symbol(path: str) -> None:
    replace(path, b"\0hf3fs_punchhole\0", b"\0hf3fs_punchhol_\0")


def break_everything(path: str) -> None:
    Path(path).write_bytes(b"")


def break_inside(path: str) -> None:
    os.truncate(path, 200)


BREAKS = [
    (break_architecture, "another machine"),
    (break_symbol, "it lacks hf3fs_punchhole"),
    (break_everything, "empty"),
    (break_inside, "file too short|too small|cannot read"),
]

# ------------------------------------------------------------------ where it is found


def test_none() -> None:
    assert get_hf3fs_lib_path() is None


@pytest.mark.parametrize("folder", ["hf3fs_py_usrbio.libs", "hf3fs_py_usrbio", "hf3fs_py_usrbio/lib", "."])
def test_beside_the_binding(site: Path, folder: str) -> None:
    path = put(site / folder)
    assert get_hf3fs_lib_path() == os.path.normpath(path)


def test_beside_a_binding_that_is_installed_elsewhere(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = scratch / "elsewhere"
    expected = put(elsewhere / "hf3fs_py_usrbio.libs")
    (elsewhere / "hf3fs_py_usrbio.py").write_text("raise ImportError('found, and never imported')")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert get_hf3fs_lib_path() == expected


def test_the_order(site: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = put(site)
    assert get_hf3fs_lib_path() == last
    for folder in ("hf3fs_py_usrbio/lib", "hf3fs_py_usrbio", "hf3fs_py_usrbio.libs"):
        path = put(site / folder)
        assert get_hf3fs_lib_path() == path
    second = put(scratch / "second")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/no/such::{scratch / 'empty'}:{scratch / 'second'}")
    assert get_hf3fs_lib_path() == second
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "empty"))
    assert get_hf3fs_lib_path() == second
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "first"))
    first = put(scratch / "first")
    assert get_hf3fs_lib_path() == first


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (f"{NAME}.1", True),
        (f"{NAME}.1.2", True),
        ("libhf3fs_api_shared-0123abcd.so.1.2", True),  # as auditwheel names it
        (f"{NAME}.bak", False),
        (f"{NAME}x", False),
        (f"x{NAME}", False),
    ],
)
def test_names(scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool) -> None:
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    path = put(scratch / "lib", name)
    assert get_hf3fs_lib_path() == (path if counts else None)


def test_a_folder_of_that_name_is_no_library(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch / "lib" / NAME).mkdir(parents=True)
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    assert get_hf3fs_lib_path() is None


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(("harm", "reason"), BREAKS[:1] + BREAKS[2:3])
def test_what_can_be_told_without_loading(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[str], None], reason: str
) -> None:
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    bad = put(scratch / "lib")
    harm(bad)
    assert get_hf3fs_lib_path() is None
    good = put(scratch / "lib", f"{NAME}.1")
    assert get_hf3fs_lib_path() == good
    (first, why), second = hf3fs_lib.candidates()
    assert (first, second) == (bad, (good, ""))
    assert reason in why


@pytest.mark.parametrize("backend", ["c"])
@pytest.mark.parametrize(("harm", "reason"), BREAKS)
def test_asked_for_and_broken(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[str], None], reason: str, backend: str
) -> None:
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    bad = put(scratch / "lib")
    harm(bad)
    with pytest.raises(FileNotFoundError, match=reason) as caught:
        create_reader(backend, mount_point="")
    assert str(scratch / "lib") in str(caught.value)
    assert f"{bad} was refused" in str(caught.value)


def test_asked_for_and_not_there(site: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{scratch}/a:{scratch}/b")
    with pytest.raises(FileNotFoundError, match=NAME) as caught:
        ThreeFSFileReader("", usrbio="sdk")
    for folder in (scratch / "a", scratch / "b", site / "hf3fs_py_usrbio.libs", site):
        assert str(folder) in str(caught.value)
    monkeypatch.setenv("FST3FS_USRBIO", "sdk")
    with pytest.raises(FileNotFoundError, match=NAME):
        ThreeFSFileReader("")
    ThreeFSFileReader("", usrbio="builtin").close()


# ------------------------------------------------------------------ what is used

#: In a process of its own, because a library that was loaded stays.
READ = """
import ctypes, sys
from fastsafetensor_3fs_reader import create_reader, hf3fs_lib
site, mount, path, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
hf3fs_lib.SITES = (site,)
with create_reader("c", mount_point=mount, require="usrbio", buffer_size=1 << 20) as reader:
    data = ctypes.create_string_buffer(size)
    assert reader.read_chunked(path, ctypes.addressof(data), 0, size) == size
    assert data.raw == open(path, "rb").read()
    info = reader.info()
    print(info["transport"], info["client"], *(f"{path}|{why}" for path, why in info["libraries"]), sep="\\n")
"""


def read_in_a_process(site: Path, mount: Mount, **environment: str) -> List[str]:
    path = mount.write("data", random_bytes(3 * MIB + 17))
    arguments = [str(site), str(mount.path), path, str(3 * MIB + 17)]
    done = run_python("-c", READ, *arguments, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def folders(site: Path, scratch: Path) -> Dict[str, Path]:
    return {
        "HF3FS_LIB_DIR": scratch / "lib dir",
        "LD_LIBRARY_PATH": scratch / "ld",
        "site-packages": site / "hf3fs_py_usrbio.libs",
    }


@pytest.mark.parametrize("place", ["HF3FS_LIB_DIR", "LD_LIBRARY_PATH", "site-packages"])
@pytest.mark.parametrize("wish", ["auto", "sdk", "builtin"])
def test_which_client_reads(site: Path, scratch: Path, mount: Mount, place: str, wish: str) -> None:
    folder = folders(site, scratch)[place]
    path = put(folder)
    environment = {} if place == "site-packages" else {place: str(folder)}
    transport, client, library = read_in_a_process(site, mount, FST3FS_USRBIO=wish, **environment)
    assert library == f"{path}|"
    if wish == "sdk" or (wish == "auto" and place == "HF3FS_LIB_DIR"):
        assert (transport, client) == ("sdk", path)
    else:
        assert (transport, client) == ("usrbio", "built-in")


def test_the_next_one_is_used_when_one_is_broken(site: Path, scratch: Path, mount: Mount) -> None:
    bad = put(scratch / "lib")
    break_symbol(bad)
    good = put(scratch / "ld")
    transport, client, *libraries = read_in_a_process(
        site, mount, HF3FS_LIB_DIR=str(scratch / "lib"), LD_LIBRARY_PATH=str(scratch / "ld")
    )
    assert (transport, client) == ("sdk", good)
    assert libraries == [f"{bad}|it lacks hf3fs_punchhole", f"{good}|"]


def test_the_log_says_what_was_refused(scratch: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    bad = put(scratch / "lib")
    break_symbol(bad)
    with pytest.raises(FileNotFoundError):
        ThreeFSFileReader("")
    assert f"{bad}: refused: it lacks hf3fs_punchhole" in caplog.text


# ------------------------------------------------------------------ its traps


def test_nothing_stays_registered(serve: Callable[..., Mount], sdk: str) -> None:
    mount = serve()
    data = random_bytes(MIB)
    path = mount.write("data", data)
    with ThreeFSFileReader(str(mount.path), usrbio="sdk", buffer_size=MIB) as reader:
        target = Target(MIB)
        assert reader.read_chunked(path, target.address, 0, MIB) == MIB
        target.check(data)
        assert reader.info()["client"] == sdk
        links = set(os.listdir(mount.path / "3fs-virt" / "iovs"))
        assert [name for name in links if ".f10" in name]
    left = set(os.listdir(mount.path / "3fs-virt" / "iovs"))
    assert left == {"submit-ios", "submit-ios.ph", "submit-ios.pl"}


def test_an_fd_number_that_somebody_left_registered(module_mount: Mount, sdk: str) -> None:
    """The library knows files by number, and would read the old one."""
    old, new = module_mount.write("left", random_bytes(MIB, 1)), module_mount.write("new", random_bytes(MIB, 2))
    with ThreeFSFileReader(str(module_mount.path), usrbio="sdk", buffer_size=MIB) as reader:
        reader.read_chunked(module_mount.write("first", b"x"), 0, 0, 1)
        fd = os.open(old, os.O_RDONLY)
        assert ctypes.CDLL(sdk).hf3fs_reg_fd(fd, ctypes.c_uint64(0)) <= 0
        os.close(fd)
        target = Target(MIB)
        assert reader.read_chunked(new, target.address, 0, MIB) == MIB
        assert os.readlink(f"/proc/self/fd/{fd}") == new, "the number was not used again"
        target.check(random_bytes(MIB, 2))


KILLED = """
import sys
from fastsafetensor_3fs_reader import ThreeFSFileReader
reader = ThreeFSFileReader(sys.argv[1], usrbio="sdk", require="usrbio", buffer_size=1 << 20)
print("reading", flush=True)
while True:
    reader.read_chunked(sys.argv[2], 0, 0, 1 << 20)
"""


def test_a_process_that_is_killed_leaves_nothing(mount: Mount, sdk: str) -> None:
    path = mount.write("data", random_bytes(MIB))
    process = python("-c", KILLED, str(mount.path), path)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    assert mount.registrations() == 2
    process.kill()
    process.communicate()
    assert eventually(lambda: mount.registrations() == 0)
    assert shm_objects(process.pid) == set()
