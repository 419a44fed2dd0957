# SPDX-License-Identifier: Apache-2.0
"""What is built, what is in it, and that it works where it is installed."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from interpreters import Environment, interpreters
from support import PACKAGE, ROOT, dropin

from fastsafetensor_3fs_reader.usrbiod import find_usrbiod

pytestmark = pytest.mark.timeout(300)


def build(folder: Path, *arguments: str, source: Path = ROOT, **environment: str) -> Path:
    """Builds with the tools that are here; what came out."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-I", "-m", "build", "--no-isolation", "--outdir", str(folder), *arguments, str(source)],
        check=True,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
    )
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def folder(scratch_session: Path) -> Iterator[Path]:
    folder = scratch_session / "packaging"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    # In the directory of the Makefile's own build, where most of the work is done already.
    (ROOT / "build-wheel").mkdir(exist_ok=True)
    return build(folder / "wheel", "--wheel", "-Cbuild-dir=build-wheel")


@pytest.fixture(scope="module")
def tools_without_a_compiler(folder: Path) -> str:
    """A PATH with what a build in Python needs, and nothing else."""
    path = folder / "bin"
    path.mkdir()
    for name in ("meson", "ninja"):
        (path / name).symlink_to(Path(sysconfig.get_path("scripts")) / name)
    return str(path)


@pytest.fixture(scope="module")
def sdist(folder: Path) -> Path:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("a source distribution is made from a git checkout")
    return build(folder / "sdist", "--sdist")


@pytest.fixture(scope="module")
def pure_wheel(folder: Path, tools_without_a_compiler: str) -> Path:
    return build(folder / "pure", "--wheel", FST3FS_NO_EXT="1", PATH=tools_without_a_compiler, CC="/no/such/compiler")


def names(wheel: Path) -> List[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def metadata(wheel: Path) -> "email.message.Message[str, str]":
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


# ------------------------------------------------------------------ what is in it


def test_one_wheel_for_every_python(wheel: Path) -> None:
    _, _, python, abi, platform = wheel.stem.split("-")
    assert (python, abi) == ("cp39", "abi3")
    assert platform.startswith("linux_")
    about = metadata(wheel)
    assert about["Requires-Python"] == ">=3.9"
    assert {"torch", "bench", "test"} <= set(about.get_all("Provides-Extra"))
    # A lower one would lose to the package of that name that is there already.
    assert [int(part) for part in about["Version"].split(".")] >= [0, 4, 0]
    assert about.get_all("License-File") == ["LICENSE"]
    assert not [need for need in about.get_all("Requires-Dist") if "extra" not in need], "it needs something"


def test_what_is_in_the_wheel(wheel: Path) -> None:
    inside = names(wheel)
    for name in ("_core.abi3.so", "_core.pyi", "py.typed", "lib/libhf3fs_api_shared.so", "include/hf3fs_usrbio.h"):
        assert f"{PACKAGE}/{name}" in inside
    assert [name for name in inside if name.endswith(".data/scripts/usrbiod")]
    sources = {str(path.relative_to(ROOT / "python")) for path in (ROOT / "python").rglob("*.py")}
    assert sources == {name for name in inside if name.endswith(".py")}
    elsewhere = [name for name in inside if not name.startswith(PACKAGE)]
    assert not elsewhere


def test_what_is_in_the_pure_wheel(wheel: Path, pure_wheel: Path) -> None:
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in names(pure_wheel) if name.endswith(".so") or "/scripts/" in name]
    assert [n for n in names(pure_wheel) if n.endswith(".py")] == [n for n in names(wheel) if n.endswith(".py")]
    assert str(metadata(pure_wheel)) == str(metadata(wheel))


def test_the_source_distribution_is_complete(folder: Path, sdist: Path, tools_without_a_compiler: str) -> None:
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder / "unpacked")
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-tree", "-r", "--name-only", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert set(tracked) <= inside
    (source,) = (folder / "unpacked").iterdir()
    made = build(folder / "again", "--wheel", source=source, FST3FS_NO_EXT="1", PATH=tools_without_a_compiler)
    assert made.name.endswith("-py3-none-any.whl")


def test_manylinux(wheel: Path, folder: Path) -> None:
    """Of what is linked, the C library sets the tag, and libfuse3 stays the system's: its mount helper is, too."""
    auditwheel = [sys.executable, "-I", "-m", "auditwheel"]
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    subprocess.run(
        [*auditwheel, "repair", "--exclude", "libfuse3.so.*", "--wheel-dir", str(folder / "manylinux"), str(wheel)],
        check=True,
        env={**os.environ, "PATH": path},
        capture_output=True,
    )
    (repaired,) = (folder / "manylinux").iterdir()
    assert "-cp39-abi3-manylinux_2_" in repaired.name
    audited = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "abi3audit", "--strict", str(repaired)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert audited.returncode == 0, audited.stderr


# ------------------------------------------------------------------ types


@pytest.mark.parametrize(
    "check", [["mypy", "--config-file", str(ROOT / "pyproject.toml")], ["mypy.stubtest", f"{PACKAGE}._core"]]
)
def test_types(check: List[str], scratch: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", *check], cwd=scratch, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------ where it is installed

#: Serves a directory and reads a file of it.
USE = """
import ctypes, os, sys, tempfile
from fastsafetensor_3fs_reader import (
    ThreeFSFileReader, create_reader, extract_mount_point, get_backend, is_available)
from fastsafetensor_3fs_reader.usrbiod import Usrbiod
data = os.urandom(3 << 20)
with tempfile.TemporaryDirectory() as backing:
    with open(os.path.join(backing, "file"), "wb") as file:
        file.write(data)
    with Usrbiod(backing) as daemon:
        mount = daemon.mount_point
        for backend in ("auto", "python", "mock"):
            with create_reader(backend, mount_point=extract_mount_point(mount), buffer_size=1 << 20) as reader:
                target = ctypes.create_string_buffer(len(data))
                got = reader.read_chunked(mount + "/file", ctypes.addressof(target), 0, len(data))
                assert got == len(data) and target.raw == data, backend
                print(backend, reader.info()["backend"], reader.info()["transport"])
print(get_backend(), is_available())
"""


@pytest.fixture(params=["oldest", "newest"])
def clean_environment(request: pytest.FixtureRequest, scratch: Path) -> Environment:
    found: Dict = interpreters()
    version = min(found) if request.param == "oldest" else max(found)
    if request.param == "newest" and version == min(found):
        pytest.skip(f"Python {version[0]}.{version[1]} is the only one here")
    return Environment(scratch / "venv", found[version])


def test_installed_in_a_clean_environment(clean_environment: Environment, wheel: Path) -> None:
    clean_environment.install(wheel)
    assert clean_environment.run("-c", USE).splitlines() == [
        "auto c usrbio",
        "python python posix",
        "mock mock posix",
        "c True",
    ]


def test_installed_without_the_extension(clean_environment: Environment, pure_wheel: Path) -> None:
    clean_environment.install(pure_wheel)
    assert clean_environment.run("-c", USE, USRBIOD=find_usrbiod()).splitlines() == [
        "auto python posix",
        "python python posix",
        "mock mock posix",
        "python True",
    ]
    clean_environment.pip("uninstall", "--yes", PACKAGE)
    (site,) = (clean_environment.folder).glob("lib/python3.*/site-packages")
    assert not list(site.glob("fastsafetensor*"))


def test_demo_and_tests_without_the_extension(scratch: Path, pure_wheel: Path) -> None:
    environment = Environment(scratch / "venv")
    environment.install(pure_wheel)
    environment.borrow(sysconfig.get_path("purelib"))
    shown = environment.run("-m", PACKAGE, "demo", "--size-gb", "0.01", USRBIOD=find_usrbiod())
    assert "posix" in shown
    tests = str(ROOT / "tests" / "python" / "test_conformance.py")
    environment.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "python-posix or python-usrbio or mock", tests,
        USRBIOD=find_usrbiod(),
        DROPIN=dropin(),
    )  # fmt: skip
