# SPDX-License-Identifier: Apache-2.0
"""Which backend is chosen, what it says of the others, and what the one in pure Python does by itself."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import support
from support import MIB, Mount, Target, random_bytes

import fastsafetensor_3fs_reader as package
from fastsafetensor_3fs_reader import create_reader
from fastsafetensor_3fs_reader.owner import owner_name
from fastsafetensor_3fs_reader.reader_py import ThreeFSFileReaderPy, check_library

PACKAGE = Path(package.__file__).parent


def run_python(code: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Python with the package in ``folder``, and with its log on stderr."""
    code = f"import logging, sys; sys.path.insert(0, {str(folder)!r}); logging.basicConfig(level=logging.INFO)\n{code}"
    return support.run_python("-c", code, env=environment)


@pytest.fixture
def without_c(scratch: Path) -> Path:
    """A folder with the package as it is without its C module."""
    copy = scratch / PACKAGE.name
    copy.mkdir()
    for file in PACKAGE.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    return scratch


ASK = "import fastsafetensor_3fs_reader as p; print(p.get_backend(), p.is_available())"


@pytest.mark.parametrize(
    ("wish", "answer"),
    [
        ("", "c True"),
        ("auto", "c True"),
        ("c", "c True"),
        ("cpp", "c True"),
        ("python", "python True"),
        ("mock", "mock False"),
    ],
)
def test_with_the_extension(wish: str, answer: str) -> None:
    done = run_python(ASK, Path("/"), FASTSAFETENSORS_BACKEND=wish)
    assert done.stdout == answer + "\n", done.stderr
    assert f"backend {answer.split(maxsplit=1)[0]}\n" in done.stderr


@pytest.mark.parametrize(("wish", "answer"), [("", "python True"), ("auto", "python True"), ("mock", "mock False")])
def test_without_the_extension(without_c: Path, wish: str, answer: str) -> None:
    done = run_python(ASK, without_c, FASTSAFETENSORS_BACKEND=wish)
    assert done.stdout == answer + "\n", done.stderr
    said = "backend python (not c: fastsafetensor_3fs_reader._core is not installed)"
    assert (said in done.stderr) == (wish != "mock")


@pytest.mark.parametrize("wish", ["c", "cpp"])
def test_asked_for_and_not_there(without_c: Path, wish: str) -> None:
    done = run_python(ASK, without_c, FASTSAFETENSORS_BACKEND=wish)
    assert "ImportError: backend 'c': fastsafetensor_3fs_reader._core is not installed" in done.stderr
    done = run_python(f"import fastsafetensor_3fs_reader as p; p.create_reader({wish!r}, mount_point='')", without_c)
    assert "ImportError: backend 'c': fastsafetensor_3fs_reader._core is not installed" in done.stderr


def test_an_extension_that_does_not_load_is_no_reason_to_slide(without_c: Path) -> None:
    (without_c / PACKAGE.name / "_core.abi3.so").write_bytes(b"not a library")
    for wish in ("", "auto", "c"):
        done = run_python(ASK, without_c, FASTSAFETENSORS_BACKEND=wish)
        assert "ImportError: backend 'c' is installed, but does not load: " in done.stderr
    assert run_python(ASK, without_c, FASTSAFETENSORS_BACKEND="python").stdout == "python True\n"


def test_any_backend_beside_the_active_one(mount: Mount) -> None:
    path = mount.write("data", b"0123456789")
    for backend in ("c", "cpp", "python", "mock"):
        with create_reader(backend, mount_point=str(mount.path), buffer_size=MIB) as reader:
            assert reader.info()["backend"] == {"cpp": "c"}.get(backend, backend)
            assert reader.read_chunked(path, 0, 0, 10) == 10


# ------------------------------------------------------------------ the one in pure Python


@pytest.fixture
def interface(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs an hf3fs_fuse.io of these lines."""
    (scratch / "hf3fs_fuse").mkdir()
    (scratch / "hf3fs_fuse" / "__init__.py").touch()
    for name in ("hf3fs_fuse", "hf3fs_fuse.io"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(scratch))
    yield (scratch / "hf3fs_fuse" / "io.py").write_text
    for name in ("hf3fs_fuse", "hf3fs_fuse.io"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("import hf3fs_py_usrbio_of_another_machine", "hf3fs_fuse.io is installed, but does not load: No module"),
        ("raise ImportError('undefined symbol: hf3fs_reg_fd')", "does not load: undefined symbol: hf3fs_reg_fd"),
    ],
)
def test_an_interface_that_does_not_load(mount: Mount, interface: Callable[[str], None], lines: str, why: str) -> None:
    interface(lines)
    path = mount.write("data", b"0123456789")
    with create_reader("python", mount_point=str(mount.path), buffer_size=MIB) as reader:
        assert reader.info()["transport"] == "posix"
        assert why in str(reader.info()["why_not"])
        assert reader.read_chunked(path, 0, 0, 10) == 10
    with pytest.raises(OSError, match=r"does not load.*ruled out"):
        create_reader("python", mount_point=str(mount.path), buffer_size=MIB, require="usrbio")


def test_it_loads_the_library_for_the_interface(
    mount: Mount, sdk: str, hf3fs_fuse: Callable[[bool], None], caplog: Any
) -> None:
    hf3fs_fuse(True)
    path, data = mount.write("data", random_bytes(MIB)), random_bytes(MIB)
    caplog.set_level(logging.DEBUG)
    with create_reader("python", mount_point=str(mount.path), buffer_size=256 * 1024) as reader:
        target = Target(MIB)
        assert reader.read_chunked(path, target.address, 0, MIB, pipelined=True) == MIB
        assert reader.read_chunked(path, target.address, 0, MIB, pipelined=True) == MIB
        target.check(data)
        info = reader.info()
    assert info["libraries"] == [(sdk, "")]
    assert (info["transport"], info["piece_size"], info["window"]) == ("usrbio", 64 * 1024, 4)
    assert caplog.text.count("pipelined=True means nothing") == 1
    (line,) = (record.message for record in caplog.records if record.message.startswith("reader: backend=python"))
    assert f"transport=usrbio client={info['client']} mount={mount.path}" in line


@pytest.mark.parametrize(("there", "transport"), [(False, "posix"), (True, "usrbio")])
def test_the_names_of_the_reader_before_this_one(
    mount: Mount, sdk: str, hf3fs_fuse: Callable[[bool], None], there: bool, transport: str
) -> None:
    path = mount.write("data", b"0123456789")
    hf3fs_fuse(there)
    assert check_library() is there
    with ThreeFSFileReaderPy(mount_point=str(mount.path)) as reader:
        assert (reader.info()["backend"], reader.info()["transport"]) == ("python", transport)
        assert reader.read_chunked(path=path, dev_ptr=0, file_offset=0, total_length=10) == 10


def test_check_library_is_about_an_interface_that_loads(sdk: str, interface: Callable[[str], None]) -> None:
    interface("raise ImportError('undefined symbol: hf3fs_reg_fd')")
    assert check_library() is False
    interface("")
    assert check_library() is True


def test_windows_are_whole(serve: Callable[..., Mount], sdk: str, hf3fs_fuse: Callable[[bool], None]) -> None:
    mount = serve("--latency-us", "20000")
    hf3fs_fuse(True)
    path = mount.write("data", random_bytes(MIB))
    with create_reader("python", mount_point=str(mount.path), buffer_size=MIB, entries=8) as reader:
        assert reader.read_chunked(path, 0, 0, MIB, 64 * 1024) == MIB
    stats = mount.stats()
    assert stats["requests"] == 16
    assert stats["in_flight"]["max"] == 8


def test_dev_shm_too_small(
    mount: Mount, sdk: str, hf3fs_fuse: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hf3fs_fuse(True)
    free = os.statvfs("/dev/shm")
    size = free.f_bavail * free.f_frsize + (64 << 20)
    monkeypatch.setattr(os, "sysconf", lambda name: 1 << 40 if name == "SC_PHYS_PAGES" else 4096)
    with pytest.raises(OSError, match=r"does not fit into /dev/shm.*--shm-size.*smaller buffer_size"):
        create_reader("python", mount_point=str(mount.path), buffer_size=size, require="usrbio")


def test_a_name_where_proc_numbers_processes_otherwise() -> None:
    """In a pid namespace of its own, without a /proc of its own."""
    script = "from fastsafetensor_3fs_reader.owner import owner_name; print(owner_name())"
    done = subprocess.run(
        ["unshare", "--fork", "--pid", sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout[len("hf3fs-iov-") :].replace("-", ""), 16) >> 106 == 1


def test_the_name_in_shared_memory_tells_its_owner() -> None:
    """As include/hf3fs_usrbio.h has it, so that the C client sweeps what a killed process leaves."""
    names = [owner_name(), owner_name()]
    assert names[0] != names[1]
    bits = int(names[0][len("hf3fs-iov-") :].replace("-", ""), 16)
    assert bits >> 106 == os.getpid() & ((1 << 22) - 1)
    assert bits >> 76 & 0xF == 8
    assert bits >> 62 & 0b11 == 0b10
