# SPDX-License-Identifier: Apache-2.0
"""Real usrbiod mounts for every test, and after every test a look whether anything is left."""

import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from forked import Forked
from support import (
    DATA_SIZE,
    ROOT,
    Mount,
    dropin,
    eventually,
    open_fds,
    random_bytes,
    scratch_root,
    shm_objects,
    threads,
)

from fastsafetensor_3fs_reader import ThreeFSFileReader

FAILED = pytest.StashKey[bool]()
FAKE_CUDA = ROOT / "tests" / "fakes" / "cuda"

# A shell starts background jobs with SIGINT ignored, which children inherit: tests that send one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Files, or single tests, that `make check` leaves out.
SLOW = (
    "test_bench.py",
    "test_benchmark_checkpoints.py::test_tensors_lie",
    "test_benchmark_loaders.py",
    "test_benchmark_results.py",
    "test_benchmark_sweep.py",
    "test_bytes.py::test_every_edge",
    "test_conformance.py",
    "test_demo.py",
    "test_doctor.py",
    "test_fastsafetensors.py",
    "test_fastsafetensors_copier.py",
    "test_gpu_fake.py",
    "test_guards.py",
    "test_inject.py",
    "test_packaging.py",
    "test_populate.py::test_conformance_without",
    "test_pages.py::test_the_",  # which build the site
    "test_process.py::test_kill_9_at_any_moment",
    "test_ranks.py",
    "test_soak.py::test_a_short_one",
)


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        if f"{item.path.name}::{item.name}".startswith(SLOW):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """What the imports made stays: so that a look for garbage after every test does not go through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No object in /dev/shm, no registration, no fd and no thread more than before the test."""
    gc.collect()
    before_fds, before_threads = open_fds(), threads()
    yield
    if request.node.stash.get(FAILED, False):
        return  # its traceback keeps readers alive: what is left says nothing
    # Readers that other fixtures gave to the test are to go now.
    request.node.funcargs.clear()
    gc.collect()
    # What a reader leaves to a thread of its own takes a moment.
    eventually(lambda: not shm_objects(os.getpid()) and open_fds() <= before_fds and threads() <= before_threads)
    assert shm_objects(os.getpid()) == set(), "left in /dev/shm"
    assert open_fds() - before_fds == set(), "fds left open"
    assert threads() - before_threads == set(), "threads left running"
    for mount in Mount.live:
        assert eventually(lambda m=mount: m.registrations() == 0), f"registrations left: {mount.stats()}"
        assert mount.stats()["violations"] == mount.violations_meant, f"protocol violated: {mount.stats()}"
    # What is there still is pytest's, a little more after every test: to go through it twice for each of the next ones
    # would take longer than most of them.
    gc.freeze()


@pytest.fixture(scope="session")
def fake_cuda(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CUDA driver without a GPU: the path of libcuda.so.1, in a folder of its own."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler to build the fake driver with")
    library = tmp_path_factory.mktemp("fake-cuda") / "libcuda.so.1"
    sources = [str(source) for source in sorted(FAKE_CUDA.glob("*.c"))]
    command = [compiler, "-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-fvisibility=hidden"]
    subprocess.run([*command, "-Wl,-soname,libcuda.so.1", "-o", str(library), *sources, "-pthread"], check=True)
    return str(library)


@pytest.fixture(scope="session")
def consumer() -> Iterator[Forked]:
    """A process that has imported fastsafetensors, and PyTorch with it."""
    forked = Forked(Path(__file__).with_name("consumer_cases.py"))
    yield forked
    forked.stop()


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> str:
    """Our drop-in, to be found as the official library: its path."""
    monkeypatch.setenv("HF3FS_LIB_DIR", os.path.dirname(dropin()))
    return dropin()


@pytest.fixture(scope="session")
def resource_tracker() -> None:
    """Python's own watcher of shared memory: a process for good, as soon as the first of it is made."""
    memory = SharedMemory(create=True, size=1)
    memory.close()
    memory.unlink()


@pytest.fixture
def hf3fs_fuse(monkeypatch: pytest.MonkeyPatch, resource_tracker: None) -> Iterator[Callable[[bool], None]]:
    """Puts 3FS's Python interface there, or takes it away, for one test."""
    names = ("hf3fs_fuse", "hf3fs_fuse.abi", "hf3fs_fuse.io")

    def put(there: bool) -> None:
        if there:
            monkeypatch.syspath_prepend(str(ROOT / "tests" / "fakes" / "hf3fs_fuse"))
        else:
            for name in names:
                monkeypatch.setitem(sys.modules, name, None)

    yield put
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def scratch_session() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="fst3fs-test-", dir=scratch_root())
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def scratch(scratch_session: Path) -> Iterator[Path]:
    """A folder of the test's own."""
    folder = Path(tempfile.mkdtemp(dir=scratch_session))
    yield folder
    shutil.rmtree(folder)


def _mounts(root: Path) -> Iterator[Callable[..., Mount]]:
    made: List[Mount] = []
    numbers = itertools.count()

    def serve(*options: str, name: str = "", backing: str = "") -> Mount:
        number = next(numbers)
        mount = Mount(root / (backing or f"backing-{number}"), root / (name or f"mnt-{number}"), *options)
        made.append(mount)
        return mount

    yield serve
    # Readers that were dropped go while their mount is still there.
    gc.collect()
    for mount in reversed(made):
        mount.stop()


@pytest.fixture
def serve(scratch: Path, nothing_left: None) -> Iterator[Callable[..., Mount]]:
    """Serves folders as 3FS: serve("--latency-us", "500", name="below scratch") -> Mount."""
    yield from _mounts(scratch)


@pytest.fixture
def mount(serve: Callable[..., Mount]) -> Mount:
    """One mount without any simulation."""
    return serve()


@pytest.fixture(scope="module")
def module_mount(scratch_session: Path) -> Iterator[Mount]:
    """One mount for all tests of a file."""
    root = Path(tempfile.mkdtemp(dir=scratch_session))
    makers = _mounts(root)
    yield next(makers)()
    next(makers, None)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def data() -> bytes:
    return random_bytes(DATA_SIZE)


@pytest.fixture(scope="module")
def path(module_mount: Mount, data: bytes) -> str:
    """A file of ``data`` on the module's mount."""
    return module_mount.write("data", data)


@pytest.fixture
def open_reader(nothing_left: None) -> Iterator[Callable[..., ThreeFSFileReader]]:
    """Makes readers that must use USRBIO, proves that they did, and closes them."""
    readers: List[ThreeFSFileReader] = []

    def make(mount: Mount, **kwargs: Any) -> ThreeFSFileReader:
        kwargs.setdefault("buffer_size", 1 << 20)
        reader = ThreeFSFileReader(str(mount.path), require="usrbio", **kwargs)
        info = reader.info()
        assert (info["transport"], info["client"]) == ("usrbio", "built-in")
        readers.append(reader)
        return reader

    yield make
    while readers:
        reader = readers.pop()
        info = reader.info()
        reader.close()
        assert info["transport"] == "usrbio"
        assert info["bytes_posix"] == 0, "bytes came through the operating system"
