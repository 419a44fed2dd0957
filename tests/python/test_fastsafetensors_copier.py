# SPDX-License-Identifier: Apache-2.0
"""This package's copier under fastsafetensors' own loaders, as published, over a real mount.

`make test` runs this with the version of requirements-test.txt, `make test-fastsafetensors` with older ones, in which
what a version does not have is left out.
"""

import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from support import MIB, Mount
from test_fastsafetensors import (
    MISSING,
    SHARDS,
    TENSORS,
    all_equal,
    checkpoint,
    finish,
    served_again,
    start,
)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(240),
]
__all__ = ["checkpoint"]  # the fixture


def has(module: str) -> bool:
    return not MISSING and find_spec(f"fastsafetensors.{module}") is not None


#: Since 0.4.0, and since 0.5.0.
CHUNKS = pytest.mark.skipif(not has("_planner"), reason="this fastsafetensors has no chunks")
READINESS = pytest.mark.skipif(not has("allocation"), reason="this fastsafetensors waits for whole shards")


def sendable(loader: str, ranks: int) -> None:
    """Before 0.5.0 the parallel loaders too send tensors one by one, as they are."""
    if ranks > 1 and loader != "plain" and not has("allocation"):
        pytest.skip("gloo cannot send what this fastsafetensors sends")


#: The largest tensor of the checkpoint has 133 KB.
CHUNK = 300_000


class Loaded:
    """What one process printed."""

    def __init__(self, process: Any) -> None:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        peak, before, *self.last = output.splitlines()[-4:]
        self.peak, self.held = (int(number) for number in re.findall(r"\d+", peak))
        self.before = int(before.split()[0])


def load(loader: str, reference: Path, files: List[str], *options: str, **environment: str) -> Loaded:
    return Loaded(start(loader, reference, files, *options, COPIER="ours", **environment))


def config(folder: Path, section: Dict[str, Any], **parallel: Any) -> str:
    """What FASTSAFETENSORS_CONFIG names: its section 3fs, and the pipeline's settings."""
    path = folder / "fastsafetensors.json"
    settings = {"loader": "3fs", "parallel": {"use_tqdm_on_load": False, **parallel}, "3fs": section}
    path.write_text(json.dumps(settings))
    return str(path)


def tensor_bytes(reference: Path, wanted: str = "") -> int:
    total = 0
    for path in reference.iterdir():
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        ranges = [entry["data_offsets"] for name, entry in header.items() if re.search(wanted, name)]
        total += sum(end - begin for begin, end in ranges)
    return total


# ------------------------------------------------------------------ every loader


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("loader", "pipeline"), [("plain", False), ("parallel", True), ("auto", False), ("auto", True), ("swapped", True)]
)
def test_every_loader(
    module_mount: Mount, checkpoint: List[str], scratch: Path, loader: str, pipeline: bool, ranks: int
) -> None:
    sendable(loader, ranks)
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    options = [f"mount_point={json.dumps(str(module_mount.path))}"] if loader == "plain" else []
    common = {"COPIER": "ours", "FASTSAFETENSORS_CONFIG": config(scratch, {}, use_pipeline=pipeline)}
    if ranks > 1:
        common.update(WORLD_SIZE=str(ranks), MEETING=str(scratch / "meeting"))
    processes = [start(loader, reference, checkpoint, *options, RANK=str(rank), **common) for rank in range(ranks)]
    outcomes = [finish(process) for process in processes]
    # One by one gloo sends no tensors of six of the types.
    assert outcomes == [all_equal(TENSORS - 6 if loader == "plain" and ranks > 1 else TENSORS)] * ranks
    read = module_mount.stats()["bytes"] - before
    wanted = tensor_bytes(reference)
    # Of its last shards a rank may want nothing that the other can be sent.
    assert (0.5 if loader == "plain" and ranks > 1 else 1) * wanted <= read <= 1.02 * wanted


# ------------------------------------------------------------------ a part of the tensors


@pytest.mark.parametrize("only", [r"\.(bfloat16|int64)$", r"^[2-4]\.", r"\.scalar$", "nothing"])
def test_a_filter_saves_reads(module_mount: Mount, checkpoint: List[str], only: str) -> None:
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    loaded = load("parallel", reference, checkpoint, f"only={json.dumps(only)}")
    wanted = tensor_bytes(reference, only)
    count = {r"^[2-4]\.": 3 * TENSORS, "nothing": 0, r"\.scalar$": SHARDS}.get(only, 2 * SHARDS)
    assert loaded.last == [f"{count} equal", "threads left: none"]
    assert wanted <= module_mount.stats()["bytes"] - before <= 1.02 * wanted


# ------------------------------------------------------------------ chunks and budgets


@CHUNKS
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("pipeline", "buffers"), [(False, 1), (True, 2)])
def test_max_batch_bytes(
    module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool, buffers: int, ranks: int
) -> None:
    sendable("auto", ranks)
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    settings = config(scratch, {}, use_pipeline=pipeline, max_batch_bytes=CHUNK)
    common = {"COPIER": "ours", "FASTSAFETENSORS_CONFIG": settings}
    if ranks > 1:
        common.update(WORLD_SIZE=str(ranks), MEETING=str(scratch / "meeting"))
    processes = [start("auto", reference, checkpoint, RANK=str(rank), **common) for rank in range(ranks)]
    for loaded in [Loaded(process) for process in processes]:
        assert loaded.last == all_equal()
        assert loaded.peak <= buffers * CHUNK
        assert loaded.peak > 0 or not has("allocation")
    assert module_mount.stats()["bytes"] - before <= 1.02 * tensor_bytes(reference)


@CHUNKS
@pytest.mark.parametrize("option", ["use_chunk_budget_as_allocation_size=true", 'only="float"'])
def test_chunks_with_other_options(module_mount: Mount, checkpoint: List[str], option: str) -> None:
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    loaded = load("parallel", reference, checkpoint, f"max_batch_bytes={CHUNK}", option)
    wanted = "float" if option.startswith("only") else ""
    assert loaded.last == all_equal(6 if wanted else TENSORS)
    assert loaded.peak <= 2 * CHUNK
    assert module_mount.stats()["bytes"] - before <= 1.02 * tensor_bytes(reference, wanted)


@CHUNKS
@pytest.mark.parametrize("resident", [True, False])
def test_vllms_call_with_a_budget(module_mount: Mount, checkpoint: List[str], resident: bool) -> None:
    """What vLLM makes of a ParallelLoader, with the keyword that it is to get."""
    reference = module_mount.backing / "model"
    budget = 1_000_000 + resident * tensor_bytes(reference)
    options = [f"device_memory_budget={budget}", f"accumulate_resident={json.dumps(resident)}"]
    loaded = load("swapped", reference, checkpoint, *options)
    assert loaded.last == all_equal()
    assert (loaded.held if resident else loaded.peak) <= budget


@CHUNKS
def test_a_budget_that_is_too_small(module_mount: Mount, checkpoint: List[str]) -> None:
    reference = module_mount.backing / "model"
    error, left = load("swapped", reference, checkpoint, "device_memory_budget=1000000").last
    assert error.startswith("BudgetInfeasibleError: "), error
    assert left == "threads left: none"


# ------------------------------------------------------------------ tensors as they come


def hanging(serve: Callable[..., Mount], scratch: Path, first: Mount, checkpoint: List[str]) -> List[str]:
    """The checkpoint where, in requests of 64 KiB, one of the first shard never comes back."""
    return served_again(serve, scratch, first, checkpoint, "--hang-every", "20")[1]


@READINESS
def test_tensors_come_while_their_shard_is_read(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path
) -> None:
    """Those before the request that never comes back are given out; those after it say what is wrong, in time."""
    files = hanging(serve, scratch, module_mount, checkpoint)
    section = {"buffer_size": MIB, "timeout": 3}
    began = time.monotonic()
    settings = config(scratch, section, use_pipeline=True)
    loaded = load("auto", module_mount.backing / "model", files, FASTSAFETENSORS_CONFIG=settings)
    assert 0 < loaded.before < TENSORS
    assert re.match(r"TimeoutError: \[Errno 110\].*\.safetensors", loaded.last[0]), loaded.last
    assert loaded.last[1] == "threads left: none"
    assert time.monotonic() - began < 60, "it was not the section's time-out"


@READINESS
def test_without_overlap_a_shard_comes_whole_or_not_at_all(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path
) -> None:
    files = hanging(serve, scratch, module_mount, checkpoint)
    options = [f"buffer_size={MIB}", "timeout=3", "overlap_io=false"]
    loaded = load("parallel", module_mount.backing / "model", files, *options)
    assert loaded.before == 0
    assert loaded.last[0].startswith("TimeoutError: "), loaded.last


@pytest.mark.parametrize("leave", [1, TENSORS + 1])
def test_left_early(module_mount: Mount, checkpoint: List[str], scratch: Path, leave: int) -> None:
    """What nobody waits for any more is given up, and the reader with it."""
    settings = config(scratch, {}, use_pipeline=True)
    reference = module_mount.backing / "model"
    loaded = load("auto", reference, checkpoint, f"leave={leave}", FASTSAFETENSORS_CONFIG=settings)
    assert loaded.last == [f"{leave} equal", "threads left: none"]


# ------------------------------------------------------------------ settings


def test_settings_of_the_section(module_mount: Mount, checkpoint: List[str], scratch: Path) -> None:
    section = {"entries": 8, "io_depth": 4, "buffer_size": 2 * MIB, "timeout": 20, "usrbio": "builtin"}
    settings = config(scratch, {**section, "require": "usrbio"}, use_pipeline=True)
    environment = {"FST3FS_REQUIRE": "", "FST3FS_TIMEOUT": "nonsense", "FASTSAFETENSORS_CONFIG": settings}
    assert load("auto", module_mount.backing / "model", checkpoint, **environment).last == all_equal()


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ({"tiemout": 3, "bufer_size": 1}, r"ValueError: 3fs: unknown settings 'bufer_size', 'tiemout': there are mou"),
        ({"max_batch_bytes": 1, "queue_size": 2}, ".*unknown settings 'max_batch_bytes', 'queue_size'.* 'parallel'$"),
        ({"timeout": -1}, "ValueError: timeout must be seconds"),
        ({"usrbio": "fast"}, "ValueError: usrbio must be"),
        ({"mount_point": "/tmp", "require": "usrbio"}, "OSError: .*/tmp"),
    ],
)
def test_settings_that_cannot_be(
    module_mount: Mount, checkpoint: List[str], scratch: Path, section: Dict[str, Any], error: str
) -> None:
    settings = config(scratch, section)
    environment = {"FST3FS_REQUIRE": "", "FASTSAFETENSORS_CONFIG": settings}
    loaded = load("auto", module_mount.backing / "model", checkpoint, **environment)
    assert re.match(error, loaded.last[0]), loaded.last


def test_a_backend_that_cannot_read_in_the_background() -> None:
    line = "from fastsafetensor_3fs_reader.fastsafetensors import register; register()"
    environment = {**os.environ, "FASTSAFETENSORS_BACKEND": "mock"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", line], env=environment, capture_output=True, text=True, check=False
    )
    assert "RuntimeError: this copier needs backend 'c', and 'mock' is the active one" in done.stderr


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_answers_with_errors(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool
) -> None:
    _, files = served_again(serve, scratch, module_mount, checkpoint, "--fail-every", "3")
    settings = config(scratch, {}, use_pipeline=pipeline)
    error, left = load("auto", module_mount.backing / "model", files, FASTSAFETENSORS_CONFIG=settings).last
    assert re.match(r"OSError: \[Errno 121\].*\.safetensors", error), error
    assert left == "threads left: none"


TRUNCATE = """
import os, sys
from fastsafetensors.threefs_loader import ThreeFSLoader
from fastsafetensor_3fs_reader.fastsafetensors import register
register()
loader = ThreeFSLoader(None, mount_point=sys.argv[1])
loader.add_filenames({0: [sys.argv[2]]})
os.truncate(sys.argv[3], os.path.getsize(sys.argv[3]) - 200_000)
try:
    buffers = loader.copy_files_to_device()
except OSError as e:
    print(e)
"""


def test_a_shard_that_was_cut_after_its_header_was_read(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str]
) -> None:
    mount = serve("--attr-timeout-s", "0")
    name = os.path.basename(checkpoint[0])
    path = mount.write(name, (module_mount.backing / "model" / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRUNCATE, str(mount.path), path, str(mount.backing / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.match(rf"\[Errno 5\] .*the file ends within tensor data.*{name}", done.stdout), done.stdout
