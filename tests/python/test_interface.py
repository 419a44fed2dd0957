# SPDX-License-Identifier: Apache-2.0
"""Names, keywords, defaults and environment variables, as callers rely on them."""

import inspect
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest
import support
from support import Mount, random_bytes, safetensors_file

import fastsafetensor_3fs_reader as package
from fastsafetensor_3fs_reader import FileReaderInterface, MockFileReader, ThreeFSFileReader
from fastsafetensor_3fs_reader.backend import reader_class

EMPTY = inspect.Parameter.empty
NAMES = [
    "FileReaderInterface",
    "MockFileReader",
    "ThreeFSFileReader",
    "create_reader",
    "extract_mount_point",
    "get_backend",
    "get_hf3fs_lib_path",
    "is_available",
]


def signature(function: Callable) -> Dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


def run_python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return support.run_python("-c", code, env=environment)


# ------------------------------------------------------------------ names and signatures


@pytest.mark.parametrize("name", NAMES)
def test_exported_names(name: str) -> None:
    assert name in package.__all__
    assert hasattr(package, name)


def test_constructor() -> None:
    parameters = signature(ThreeFSFileReader.__init__)
    assert list(parameters)[:4] == ["mount_point", "entries", "io_depth", "buffer_size"]
    assert [parameters[n] for n in list(parameters)[:4]] == [EMPTY, 64, 0, 64 * 1024 * 1024]
    more = list(inspect.signature(ThreeFSFileReader.__init__).parameters.values())[5:]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is None for p in more)


@pytest.mark.parametrize("reader", [FileReaderInterface, ThreeFSFileReader, MockFileReader])
def test_methods(reader: type) -> None:
    assert issubclass(reader, FileReaderInterface)
    assert signature(reader.read_headers_batch) == {"paths": EMPTY, "num_threads": 8}
    assert signature(reader.read_chunked) == {
        "path": EMPTY,
        "dev_ptr": EMPTY,
        "file_offset": EMPTY,
        "total_length": EMPTY,
        "chunk_size": 0,
        "pipelined": True,
    }
    assert signature(reader.has_fd) == {"path": EMPTY}
    assert signature(reader.close) == {}
    for name in ("mount_point", "iov_base", "iov_length"):
        assert isinstance(getattr(reader, name), property)


def test_arguments_and_their_explanations_are_written_once() -> None:
    readers = [reader_class(name) for name in ("c", "python", "mock")]
    for method in (FileReaderInterface.read_chunked, FileReaderInterface.read_headers_batch):
        assert {getattr(reader, method.__name__) for reader in readers} == {method}
    assert reader_class("c").__init__ is reader_class("python").__init__
    public = [name for name in dir(FileReaderInterface) if not name.startswith("_")]
    assert "read_many" in public
    for reader in (FileReaderInterface, *readers):
        assert not [name for name in public if not inspect.getdoc(getattr(reader, name))], reader
        assert inspect.getdoc(reader)


def test_a_reader_without_a_way_to_read_says_so() -> None:
    class Unfinished(FileReaderInterface):
        mount_point, iov_base, iov_length = "", 0, 0
        has_fd = close = lambda *_: None

    with pytest.raises(NotImplementedError, match="Unfinished has no read_chunked"):
        Unfinished().read_chunked("a", 0, 0, 1)
    with pytest.raises(NotImplementedError, match="Unfinished has no read_headers_batch"):
        Unfinished().read_headers_batch(["a"])


def test_the_call_of_fastsafetensors(mount: Mount) -> None:
    data = safetensors_file(random_bytes(10_000))
    path = mount.write("m", data)
    reader = ThreeFSFileReader(mount_point=str(mount.path), entries=64, io_depth=0, buffer_size=64 * 1024 * 1024)
    memory = reader.alloc(len(data))
    got = reader.read_chunked(
        path=path, dev_ptr=memory.address, file_offset=0, total_length=len(data), chunk_size=16 << 30
    )
    assert got == len(data)
    assert bytes(memory) == data
    assert reader.info()["transport"] == "usrbio"


def test_the_mock_takes_every_keyword(scratch: Path) -> None:
    (scratch / "m").write_bytes(safetensors_file(b"abc"))
    for arguments in (
        {},
        {"mount_point": "/x", "entries": 1, "io_depth": 2, "buffer_size": 3, "timeout": 4, "other": 5},
    ):
        with MockFileReader(**arguments) as reader:
            begin = reader.read_headers_batch([scratch / "m"])[scratch / "m"][1]
            assert reader.has_fd(scratch / "m")
            assert reader.iov_length > 0
            assert reader.read_chunked(scratch / "m", 0, begin, 100) == 3
            assert reader.mount_point == arguments.get("mount_point", "")


def test_the_mock_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; from fastsafetensor_3fs_reader import MockFileReader; import fastsafetensor_3fs_reader as p\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'torch', 'safetensors', 'tqdm', 'rich')])\n"
        "print('fastsafetensor_3fs_reader._core' in sys.modules)"
    )
    done = run_python(code, FASTSAFETENSORS_BACKEND="mock")
    assert done.stdout == "[]\nFalse\n", done.stderr


# ------------------------------------------------------------------ backends


@pytest.mark.parametrize(
    ("wish", "backend", "reader"),
    [
        (None, "c", "ThreeFSFileReader"),
        ("", "c", "ThreeFSFileReader"),
        ("auto", "c", "ThreeFSFileReader"),
        ("c", "c", "ThreeFSFileReader"),
        ("cpp", "c", "ThreeFSFileReader"),
        ("python", "python", "ThreeFSFileReader"),
        ("mock", "mock", "MockFileReader"),
    ],
)
def test_the_backend_from_the_environment(wish: Optional[str], backend: str, reader: str) -> None:
    environment = {} if wish is None else {"FASTSAFETENSORS_BACKEND": wish}
    code = (
        "import fastsafetensor_3fs_reader as p; print(p.get_backend(), p.is_available(), p.ThreeFSFileReader.__name__)"
    )
    done = run_python(code, **environment)
    assert done.stdout == f"{backend} {backend != 'mock'} {reader}\n", done.stderr


def test_an_unknown_backend() -> None:
    done = run_python("import fastsafetensor_3fs_reader", FASTSAFETENSORS_BACKEND="rust")
    assert done.returncode != 0
    assert "ValueError: FASTSAFETENSORS_BACKEND: unknown backend 'rust'" in done.stderr
    with pytest.raises(ValueError, match=r"unknown backend 'rust'.*mock"):
        package.create_reader("rust")


def test_a_c_module_that_does_not_load_is_an_error(scratch: Path) -> None:
    source = Path(package.__file__).parent
    copy = scratch / "fastsafetensor_3fs_reader"
    copy.mkdir()
    for file in source.glob("*.py"):
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "_core.abi3.so").write_bytes(b"not a library")
    code = f"import sys; sys.path.insert(0, {str(scratch)!r}); import fastsafetensor_3fs_reader"
    done = run_python(code)
    assert "ImportError: backend 'c' is installed, but does not load: " in done.stderr
    (copy / "_core.abi3.so").unlink()
    done = run_python(code + " as p; print(p.get_backend(), p.is_available())")
    assert done.stdout == "python True\n", done.stderr


def test_create_reader(mount: Mount, scratch: Path) -> None:
    (scratch / "m").write_bytes(b"data")
    for name, kind in (("auto", ThreeFSFileReader), ("c", ThreeFSFileReader), ("cpp", ThreeFSFileReader)):
        with package.create_reader(name, mount_point=str(mount.path), require="usrbio") as reader:
            assert type(reader) is kind
            assert reader.info()["transport"] == "usrbio"
    with package.create_reader(backend="mock", mount_point=str(mount.path), entries=3) as reader:
        assert type(reader) is MockFileReader
        assert reader.read_chunked(scratch / "m", 0, 0, 9) == 4


def test_an_older_subclass_of_the_interface_still_works() -> None:
    class Older(FileReaderInterface):
        mount_point, iov_base, iov_length = "/mnt", 0, 0

        def read_headers_batch(self, paths: Any, num_threads: int = 8) -> Dict:
            return {}

        def read_chunked(self, path: Any, dev_ptr: int, file_offset: int, total_length: int, *_: Any) -> int:
            return total_length

        def has_fd(self, path: Any) -> bool:
            return False

        def close(self) -> None:
            pass

    assert Older().read_many([("a", 0, 0, 5), ("b", 0, 0, 6)]) == [5, 6]
    assert Older().info()["mount_point"] == "/mnt"


# ------------------------------------------------------------------ information


def test_info_says_what_is_in_use(mount: Mount, open_reader: Callable) -> None:
    path = mount.write("m", random_bytes(100_000))
    reader = open_reader(mount, entries=5, buffer_size=1 << 20)
    memory = reader.alloc(100_000)
    assert reader.read_chunked(path, memory.address, 0, 100_000) == 100_000
    info = reader.info()
    assert info["backend"] == "c"
    assert info["version"] == package.__version__ == "0.4.0"
    assert (info["transport"], info["client"], info["why_not"]) == ("usrbio", "built-in", "")
    assert info["mount_point"] == reader.mount_point == str(mount.path)
    assert (info["iov_base"], info["iov_length"]) == (reader.iov_base, reader.iov_length)
    assert (info["buffer_size"], info["open_files"], info["reads"]) == (1 << 20, 1, 1)
    assert info["page_locked"] in (None, False, True)
    assert 1 <= info["window"] <= 5
    assert 0 < info["piece_size"] <= 1 << 20
    assert info["requests"] >= 1
    assert (info["bytes"], info["bytes_posix"], info["bytes_direct"]) == (100_000, 0, 100_000)


def test_debug_prints_what_each_read_did(
    mount: Mount, open_reader: Callable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    path = mount.write("m", random_bytes(100_000))
    open_reader(mount).read_chunked(path, 0, 0, 100_000)
    assert capfd.readouterr() == ("", "")
    for value in ("1", "true"):
        monkeypatch.setenv("FASTSAFETENSORS_DEBUG", value)
        open_reader(mount).read_chunked(path, 0, 100, 100_000)
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1
        for fact in (path, "at 100", "99900 bytes", "requests", "for I/O", "for copies", "usrbio"):
            assert fact in err


def test_a_log_handler_that_raises_harms_no_read(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("bad handler")

    logger = logging.getLogger("fastsafetensor_3fs_reader")
    monkeypatch.setattr(logger, "handlers", [Bad()])
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    path = mount.write("m", b"data")
    with ThreeFSFileReader(str(mount.path), require="usrbio") as reader:
        assert reader.read_chunked(path, 0, 0, 4) == 4
