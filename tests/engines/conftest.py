# SPDX-License-Identifier: Apache-2.0
"""The engines as they are published, each in an environment of its own, and a mount with models for them."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

from checkpoints import write_awq, write_llama, write_qwen3_moe  # noqa: E402
from forked import Answer, Forked  # noqa: E402
from support import ROOT, Mount, eventually, scratch_root  # noqa: E402

#: What `make test-engines` has made.
ENVIRONMENTS = {"newest": ROOT / ".venv-engines", "older": ROOT / ".venv-engines-old"}
#: Seconds for what takes a few, on a busy machine: an engine's load.
PATIENCE = 250


class Engine(Forked):
    """A process that has imported an engine, and runs cases in children of its own."""

    def __init__(self, name: str, environment: str, scratch: Path) -> None:
        self.name, self.environment, self._scratch, self._stores = name, environment, scratch, 0
        self.python = str(ENVIRONMENTS[environment] / "bin" / "python")
        cache = str(ENVIRONMENTS[environment] / "cache")
        super().__init__(HERE / f"{name}_cases.py", self.python, PATIENCE, VLLM_CACHE_ROOT=cache)

    def __str__(self) -> str:
        """For names of files: the kernel remembers those of the mount for a while after they are gone."""
        return f"{self.name}-{self.environment}"

    @property
    def version(self) -> str:
        """As its package says."""
        code = f"from importlib.metadata import version; print(version({self.name!r}))"
        return subprocess.run(
            [self.python, "-I", "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    def load(self, model: Path, load_format: str = "3fs", **kwargs: Any) -> Answer:
        """On one rank."""
        (answer,) = self.load_ranks(model, load_format, **kwargs)
        return answer

    def load_ranks(self, model: Path, load_format: str = "3fs", **kwargs: Any) -> List[Answer]:
        self.ask_load(model, load_format, **kwargs)
        return self.answers()

    def ask_load(self, model: Path, load_format: str = "3fs", extra: Dict[str, Any] = {}, **kwargs: Any) -> None:  # noqa: B006
        """Case "collect" if there are wishes, else "load". Ranks find each other in a file."""
        self._stores += 1
        store = self._scratch / f"store-{self.name}-{self.environment}-{self._stores}"
        case = "collect" if "wishes" in kwargs else "load"
        self.ask(case, model=str(model), load_format=load_format, extra=extra, store=str(store), **kwargs)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fst3fs-engines-", dir=scratch_root()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def mount(scratch: Path) -> Iterator[Mount]:
    """With a dense model, one with experts, and a quantized one."""
    write_llama(scratch / "backing" / "llama")
    write_qwen3_moe(scratch / "backing" / "moe")
    write_awq(scratch / "backing" / "awq")
    served = Mount(scratch / "backing", scratch / "mnt")
    yield served
    served.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs with both versions of its file's engine, or of both of them."""
    if "engine" in metafunc.fixturenames:
        names = [name for name in ("vllm", "sglang") if name in metafunc.module.__name__] or ["vllm", "sglang"]
        which = [(name, environment) for name in names for environment in ENVIRONMENTS]
        metafunc.parametrize("engine", which, ids=["-".join(pair) for pair in which], indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Engine]:
    started = Engine(*request.param, scratch)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def nothing_left(mount: Mount) -> Iterator[None]:
    yield
    assert eventually(lambda: mount.registrations() == 0), f"registrations left: {mount.stats()}"
    assert mount.stats()["violations"] == 0
