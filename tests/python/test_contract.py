# SPDX-License-Identifier: Apache-2.0
"""What users of the package of before rely on, row by row: names, keywords, defaults, environment variables."""

import ctypes
import importlib
import inspect
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from support import MIB, Mount, dropin, run_python, safetensors_file

import fastsafetensor_3fs_reader as package
from fastsafetensor_3fs_reader.settings import SETTINGS

REQUIRED = inspect.Parameter.empty
BACKENDS = {"c": "reader_c", "python": "reader_py", "mock": "mock"}
CONSTRUCTOR = {"mount_point": REQUIRED, "entries": 64, "io_depth": 0, "buffer_size": 64 * 1024 * 1024}
METHODS: Dict[str, Dict[str, Any]] = {
    "read_headers_batch": {"paths": REQUIRED, "num_threads": 8},
    "read_chunked": {
        "path": REQUIRED,
        "dev_ptr": REQUIRED,
        "file_offset": REQUIRED,
        "total_length": REQUIRED,
        "chunk_size": 0,
        "pipelined": True,
    },
    "has_fd": {"path": REQUIRED},
    "close": {},
}
FUNCTIONS: Dict[str, Dict[str, Any]] = {
    "create_reader": {"backend": "auto", "kwargs": REQUIRED},
    "is_available": {},
    "get_backend": {},
    "get_hf3fs_lib_path": {},
    "extract_mount_point": {"path": REQUIRED},
}


def reader_class(backend: str) -> type:
    return importlib.import_module(f"{package.__name__}.{BACKENDS[backend]}").READER


def parameters(function: Callable[..., Any]) -> Dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


# ------------------------------------------------------------------ names, keywords, defaults


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    assert name in package.__all__
    assert parameters(getattr(package, name)) == FUNCTIONS[name]


@pytest.mark.parametrize("backend", ["c", "python"])
def test_constructors(backend: str) -> None:
    found = parameters(reader_class(backend).__init__)
    assert dict(list(found.items())[:4]) == CONSTRUCTOR
    # Whatever is new must be a keyword that nobody has to know.
    assert {name: found[name] for name in list(found)[4:]} == dict.fromkeys(SETTINGS)
    kinds = {p.kind for p in list(inspect.signature(reader_class(backend)).parameters.values())[4:]}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", METHODS)
def test_methods(backend: str, method: str) -> None:
    assert issubclass(reader_class(backend), package.FileReaderInterface)
    assert parameters(getattr(reader_class(backend), method)) == METHODS[method]


@pytest.mark.parametrize("backend", BACKENDS)
def test_attributes(backend: str, mount: Mount) -> None:
    with package.create_reader(backend, mount_point=str(mount.path), buffer_size=MIB) as reader:
        assert reader.mount_point == str(mount.path)
        assert reader.iov_length == MIB
        assert ctypes.string_at(reader.iov_base, MIB) is not None
        assert reader.info()["backend"] == backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_calls_of_fastsafetensors(backend: str, mount: Mount) -> None:
    """Everything by keyword, a chunk larger than any file, and no close()."""
    file = safetensors_file(b"0123456789")
    path = mount.write("model", file)
    reader = package.create_reader(
        backend, mount_point=package.extract_mount_point(path), entries=64, io_depth=0, buffer_size=4 * MIB
    )
    header, start, size = reader.read_headers_batch([path])[path]
    assert (header.encode(), start, size) == (file[8:start], len(file) - 10, len(file))
    target = ctypes.create_string_buffer(10)
    got = reader.read_chunked(
        path=path, dev_ptr=ctypes.addressof(target), file_offset=start, total_length=10, chunk_size=16 << 30
    )
    assert (got, target.raw) == (10, b"0123456789")


def test_the_default_reader_is_the_c_one() -> None:
    assert package.get_backend() == "c"
    assert package.is_available() is True
    assert package.ThreeFSFileReader is reader_class("c")
    assert package.MockFileReader is reader_class("mock")


# ------------------------------------------------------------------ environment variables

REPORT = """
import sys
import fastsafetensor_3fs_reader as p
mount, path = sys.argv[1:]
print(p.get_backend(), p.extract_mount_point(path) == mount, p.get_hf3fs_lib_path())
with p.ThreeFSFileReader(mount_point=mount, buffer_size=1 << 20) as reader:
    reader.read_chunked(path, 0, 0, 10)
    print(reader.info()["transport"], reader.info()["client"])
"""


def report(mount: Mount, script: str = REPORT, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("FST3FS_", "HF3FS_", "FASTSAFE"))
    }
    path = mount.write("file", b"0123456789")
    return run_python("-c", script, str(mount.path), path, env={**clean, **environment})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["c True None", "usrbio built-in"]),
        ({"FASTSAFETENSORS_BACKEND": "cpp"}, ["c True None", "usrbio built-in"]),
        ({"FASTSAFETENSORS_BACKEND": "python"}, ["python True None", "posix "]),
        ({"FASTSAFETENSORS_BACKEND": "mock"}, ["mock True None", "posix "]),
        ({"HF3FS_LIB_DIR": "LIB"}, ["c True LIBRARY", "sdk LIBRARY"]),
        ({"HF3FS_LIB_DIR": "LIB", "FST3FS_USRBIO": "auto"}, ["c True LIBRARY", "sdk LIBRARY"]),
        ({"HF3FS_LIB_DIR": "LIB", "FST3FS_USRBIO": "builtin"}, ["c True LIBRARY", "usrbio built-in"]),
        ({"LD_LIBRARY_PATH": "/x:LIB"}, ["c True LIBRARY", "usrbio built-in"]),
        ({"LD_LIBRARY_PATH": "/x:LIB", "FST3FS_USRBIO": "sdk"}, ["c True LIBRARY", "sdk LIBRARY"]),
        ({"FST3FS_REQUIRE": "usrbio"}, ["c True None", "usrbio built-in"]),
        ({"HF3FS_USRBIO_DONT_CHECKFS_FOR_MP": "yes"}, ["c True None", "usrbio built-in"]),
    ],
)
def test_environment(mount: Mount, environment: Dict[str, str], expected: List[str]) -> None:
    library, folder = dropin(), str(Path(dropin()).parent)
    done = report(mount, **{name: value.replace("LIB", folder) for name, value in environment.items()})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line.replace("LIBRARY", library) for line in expected]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"FASTSAFETENSORS_BACKEND": "rust"}, "ValueError: FASTSAFETENSORS_BACKEND: unknown backend 'rust'"),
        ({"FST3FS_USRBIO": "sdk"}, "FileNotFoundError: libhf3fs_api_shared.so was asked for and is in none of"),
        ({"HF3FS_LIB_DIR": "/no/such"}, "FileNotFoundError: libhf3fs_api_shared.so was asked for and is in none of"),
        ({"FST3FS_USRBIO": "other"}, "ValueError: FST3FS_USRBIO must be"),
        ({"FST3FS_TIMEOUT": "soon"}, "ValueError: FST3FS_TIMEOUT must be"),
        ({"FST3FS_REQUIRE": "all"}, "ValueError: FST3FS_REQUIRE must be"),
    ],
)
def test_environment_out_of_range(mount: Mount, environment: Dict[str, str], error: str) -> None:
    done = report(mount, **environment)
    assert done.returncode == 1
    assert error in done.stderr


@pytest.mark.parametrize("value", ["1", "true", "True"])
@pytest.mark.parametrize("backend", ["c", "python"])
def test_debugging(mount: Mount, backend: str, value: str) -> None:
    done = report(mount, FASTSAFETENSORS_DEBUG=value, FASTSAFETENSORS_BACKEND=backend)
    (line,) = done.stderr.splitlines()
    assert "file at 0: 10 bytes in " in line
    assert report(mount, FASTSAFETENSORS_DEBUG="0", FASTSAFETENSORS_BACKEND=backend).stderr == ""
