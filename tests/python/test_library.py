# SPDX-License-Identifier: Apache-2.0
"""Where libhf3fs_api_shared.so is looked for."""

import sysconfig
from pathlib import Path
from typing import Optional

import pytest

from fastsafetensor_3fs_reader import ThreeFSFileReader, get_hf3fs_lib_path

NAME = "libhf3fs_api_shared.so"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> Path:
    """No library anywhere: site-packages is an empty folder."""
    monkeypatch.delenv("HF3FS_LIB_DIR", raising=False)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    site = scratch / "site"
    site.mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(site))
    return site


def put(folder: Path, name: str = NAME) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return str(folder / name)


def test_none() -> None:
    assert get_hf3fs_lib_path() is None


@pytest.mark.parametrize("folder", ["hf3fs_py_usrbio.libs", "hf3fs_py_usrbio", "hf3fs_py_usrbio/lib"])
def test_beside_the_binding(clean: Path, folder: str) -> None:
    library = put(clean / folder)
    assert get_hf3fs_lib_path() == library


def test_the_order(clean: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = put(clean / "hf3fs_py_usrbio.libs")
    assert get_hf3fs_lib_path() == beside
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
    [(f"{NAME}.1", True), (f"{NAME}.1.2", True), (f"{NAME}.bak", False), (f"{NAME}x", False), (f"x{NAME}", False)],
)
def test_versioned_names(scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool) -> None:
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    path: Optional[str] = put(scratch / "lib", name)
    assert get_hf3fs_lib_path() == (path if counts else None)


def test_a_folder_of_that_name_is_no_library(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch / "lib" / NAME).mkdir(parents=True)
    monkeypatch.setenv("HF3FS_LIB_DIR", str(scratch / "lib"))
    assert get_hf3fs_lib_path() is None


def test_asked_for_and_not_there(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(scratch))
    with pytest.raises(FileNotFoundError, match=NAME) as caught:
        ThreeFSFileReader("", usrbio="sdk")
    assert str(scratch) in str(caught.value)
