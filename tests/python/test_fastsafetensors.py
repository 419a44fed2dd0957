# SPDX-License-Identifier: Apache-2.0
"""fastsafetensors itself, as it is published: its loaders for 3FS, over this package and a real mount."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from support import MIB, Mount, eventually

NEEDS = ("torch", "fastsafetensors", "safetensors")
MISSING = [name for name in NEEDS if find_spec(name) is None]
SCRIPT = str(Path(__file__).with_name("fastsafetensors_load.py"))

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(240),
]

SHARDS = 6
#: Written by PyTorch in a process of its own: its threads are not this one's business.
WRITE = """
import sys, torch
from safetensors.torch import save_file
folder, shards, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(1)
names = ("bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64"
         " float8_e4m3fn float8_e5m2").split()
for shard in range(shards):
    tensors = {}
    for name in names:
        dtype = getattr(torch, name)
        raw = torch.randint(0, 2 if name == "bool" else 256, (64 * (size + shard),), dtype=torch.uint8)
        tensors[f"{shard}.{name}"] = raw.view(dtype).reshape(8, -1).contiguous()
    tensors[f"{shard}.scalar"] = torch.tensor(float(shard))
    tensors[f"{shard}.odd"] = torch.arange(7, dtype=torch.int8)
    save_file(tensors, f"{folder}/model-{shard:05}-of-{shards:05}.safetensors")
"""
TENSORS = 17


@pytest.fixture(scope="module")
def checkpoint(module_mount: Mount) -> List[str]:
    """All types, in several shards: their paths on the mount."""
    folder = module_mount.backing / "model"
    folder.mkdir()
    subprocess.run([sys.executable, "-I", "-c", WRITE, str(folder), str(SHARDS), str(2048)], check=True)
    return [str(module_mount.path / "model" / name) for name in sorted(os.listdir(folder))]


def start(loader: str, reference: Path, files: List[str], *options: str, **environment: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-I", SCRIPT, loader, str(reference), *files, *options],
        env={**os.environ, "FST3FS_REQUIRE": "usrbio", "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: Any) -> List[str]:
    """Its last two lines: what became of it, and that no thread of a loader is left."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output.splitlines()[-2:]


def served_again(
    serve: Callable[..., Mount], scratch: Path, first: Mount, checkpoint: List[str], *options: str
) -> Tuple[Mount, List[str]]:
    """The checkpoint on another mount, whose daemon has these options: its files there."""
    mount = serve(*options, backing=os.path.relpath(first.backing, scratch))
    return mount, [str(mount.path / "model" / os.path.basename(path)) for path in checkpoint]


def load(*arguments: Any, **environment: str) -> List[str]:
    return finish(start(*arguments, **environment))


def all_equal(tensors: int = TENSORS) -> List[str]:
    return [f"{tensors * SHARDS} equal", "threads left: none"]


def config(folder: Path, pipeline: bool, **extension: Any) -> str:
    """What FASTSAFETENSORS_CONFIG names."""
    path = folder / "fastsafetensors.json"
    settings: Dict[str, Any] = {"loader": "3fs", "parallel": {"use_pipeline": pipeline, "use_tqdm_on_load": False}}
    path.write_text(json.dumps({**settings, "3fs": extension}))
    return str(path)


def test_it_is_the_published_one_and_asks_for_no_more_than_we_are() -> None:
    (wanted,) = (need for need in requires("fastsafetensors") or [] if need.startswith("fastsafetensor-3fs-reader"))
    (lowest,) = re.findall(r">=([0-9.]+)", wanted)
    numbers = [[int(part) for part in text.split(".")] for text in (version("fastsafetensor-3fs-reader"), lowest)]
    assert numbers[0] >= numbers[1]


# ------------------------------------------------------------------ one process


def test_threefs_loader(module_mount: Mount, checkpoint: List[str]) -> None:
    option = f"mount_point={json.dumps(str(module_mount.path))}"
    before = module_mount.stats()["bytes"]
    assert load("plain", module_mount.backing / "model", checkpoint, option) == all_equal()
    tensor_bytes = sum(os.path.getsize(path) for path in checkpoint)
    assert module_mount.stats()["bytes"] - before > 0.9 * tensor_bytes, "it did not come through USRBIO"


@pytest.mark.parametrize("queue_size", [-1, 0, 2])
def test_parallel_threefs_loader(module_mount: Mount, checkpoint: List[str], queue_size: int) -> None:
    reference = module_mount.backing / "model"
    assert load("parallel", reference, checkpoint, f"queue_size={queue_size}") == all_equal()


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("inferred", [False, True])
def test_auto_loader(module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool, inferred: bool) -> None:
    extension = {} if inferred else {"mount_point": str(module_mount.path), "entries": 16, "buffer_size": 2 * MIB}
    settings = config(scratch, pipeline, **extension)
    reference = module_mount.backing / "model"
    assert load("auto", reference, checkpoint, FASTSAFETENSORS_CONFIG=settings) == all_equal()


def test_where_an_engine_calls_another_loader(module_mount: Mount, checkpoint: List[str]) -> None:
    assert load("swapped", module_mount.backing / "model", checkpoint) == all_equal()


@pytest.mark.parametrize("backend", ["python", "mock"])
def test_other_backends(module_mount: Mount, checkpoint: List[str], backend: str) -> None:
    reference = module_mount.backing / "model"
    environment = {"FASTSAFETENSORS_BACKEND": backend, "FST3FS_REQUIRE": ""}
    assert load("parallel", reference, checkpoint, **environment) == all_equal()


@pytest.mark.parametrize("loader", ["plain", "parallel", "auto"])
def test_files_off_3fs(module_mount: Mount, checkpoint: List[str], scratch: Path, loader: str, tmp_path: Path) -> None:
    """fastsafetensors' own tests do this, with mount_point="/tmp"."""
    reference = module_mount.backing / "model"
    files = [str(path) for path in reference.iterdir()]
    environment = {"FST3FS_REQUIRE": "", "FASTSAFETENSORS_CONFIG": config(scratch, True, mount_point="/tmp")}
    options = ['mount_point="/tmp"'] if loader == "plain" else []
    assert load(loader, reference, files, *options, **environment) == all_equal()


# ------------------------------------------------------------------ several ranks


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    ("loader", "pipeline"), [("plain", False), ("parallel", True), ("auto", False), ("auto", True)]
)
def test_ranks(
    module_mount: Mount, checkpoint: List[str], scratch: Path, ranks: int, loader: str, pipeline: bool
) -> None:
    reference = module_mount.backing / "model"
    options = [f"mount_point={json.dumps(str(module_mount.path))}"] if loader == "plain" else []
    common = {
        "WORLD_SIZE": str(ranks),
        "MEETING": str(scratch / "meeting"),
        "FASTSAFETENSORS_CONFIG": config(scratch, pipeline),
    }
    processes = [start(loader, reference, checkpoint, *options, RANK=str(rank), **common) for rank in range(ranks)]
    outcomes = [finish(process) for process in processes]
    # One by one gloo sends no tensors of six of the types.
    assert outcomes == [all_equal(TENSORS - 6 if loader == "plain" else TENSORS)] * ranks


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_truncated_shard(module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool) -> None:
    whole = (module_mount.backing / "model" / os.path.basename(checkpoint[1])).read_bytes()
    name = f"truncated-{pipeline}.safetensors"
    path = module_mount.write(name, whole[:-1000])
    (scratch / name).write_bytes(whole)  # what it should have been
    (scratch / os.path.basename(checkpoint[0])).write_bytes(
        (module_mount.backing / "model" / os.path.basename(checkpoint[0])).read_bytes()
    )
    settings = config(scratch, pipeline)
    error, threads = load("auto", scratch, [checkpoint[0], path], FASTSAFETENSORS_CONFIG=settings)
    assert re.match(r"\w*(Error|Exception): .", error), error
    assert threads == "threads left: none"


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_answers_with_errors(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool
) -> None:
    mount, files = served_again(serve, scratch, module_mount, checkpoint, "--fail-every", "3")
    environment = {"FASTSAFETENSORS_CONFIG": config(scratch, pipeline, mount_point=str(mount.path))}
    error, threads = load("auto", module_mount.backing / "model", files, **environment)
    assert error.startswith("OSError: [Errno 121]"), error
    assert ".safetensors" in error
    assert threads == "threads left: none"


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_dies(
    serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool
) -> None:
    """Its requests never come back: the loader's thread gives up, and its caller gets the error."""
    mount, files = served_again(serve, scratch, module_mount, checkpoint, "--hang-every", "1")
    environment = {"FASTSAFETENSORS_CONFIG": config(scratch, pipeline), "FST3FS_TIMEOUT": "30"}
    process = start("auto", module_mount.backing / "model", files, **environment)
    assert eventually(lambda: mount.stats()["in_flight"]["now"] > 0, 60)
    mount.kill()
    error, threads = finish(process)
    assert re.match(r"(OSError|TimeoutError|ConnectionError|ConnectionAbortedError): \[Errno", error), error
    assert threads == "threads left: none"
