# SPDX-License-Identifier: Apache-2.0
"""fastsafetensors itself, as it is published: its loaders for 3FS, over this package and a real mount."""

import json
import os
import re
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import pytest
from forked import Forked
from support import MIB, Mount, eventually

NEEDS = ("torch", "fastsafetensors", "safetensors")
MISSING = [name for name in NEEDS if find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(240),
]

SHARDS = 6
TENSORS = 17


@pytest.fixture(scope="module")
def checkpoint(consumer: Forked, module_mount: Mount) -> List[str]:
    """All types, in several shards: their paths on the mount."""
    folder = module_mount.backing / "model"
    folder.mkdir()
    answer = consumer.run("write", folder=str(folder), shards=SHARDS, size=2048)
    assert answer.error == "", answer.log
    return [str(module_mount.path / "model" / name) for name in sorted(os.listdir(folder))]


class Outcome(NamedTuple):
    """What became of a load, and what is left of its loader."""

    end: str
    left: List[str]


def start(
    consumer: Forked,
    loader: str,
    reference: Path,
    files: List[str],
    *,
    ranks: int = 1,
    meeting: Optional[Path] = None,
    options: Dict[str, Any] = {},  # noqa: B006
    copier: bool = False,
    only: str = "",
    leave: Optional[int] = None,
    **environment: str,
) -> None:
    """A load by each of so many ranks, which find each other at ``meeting``; the rest is consumer_cases.py's."""
    consumer.ask(
        "load",
        ranks=ranks,
        environment={"FST3FS_REQUIRE": "usrbio", **environment},
        loader=loader,
        reference=str(reference),
        files=files,
        options=options,
        copier=copier,
        meeting=str(meeting) if meeting else None,
        only=only,
        leave=leave,
    )


def results(consumer: Forked) -> List[Dict[str, Any]]:
    """What the ranks of a load came back with."""
    answers = consumer.answers()
    for answer in answers:
        assert answer.error == "", answer.log
    return [answer.result for answer in answers]


def finish(consumer: Forked) -> List[Outcome]:
    return [Outcome(result["end"], result["left"]) for result in results(consumer)]


def served_again(
    serve: Callable[..., Mount], scratch: Path, first: Mount, checkpoint: List[str], *options: str
) -> Tuple[Mount, List[str]]:
    """The checkpoint on another mount, whose daemon has these options: its files there."""
    mount = serve(*options, backing=os.path.relpath(first.backing, scratch))
    return mount, [str(mount.path / "model" / os.path.basename(path)) for path in checkpoint]


def load(consumer: Forked, *arguments: Any, **kwargs: Any) -> Outcome:
    """By one rank."""
    start(consumer, *arguments, **kwargs)
    (outcome,) = finish(consumer)
    return outcome


def all_equal(tensors: int = TENSORS) -> Outcome:
    return Outcome(f"{tensors * SHARDS} equal", [])


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


def test_threefs_loader(consumer: Forked, module_mount: Mount, checkpoint: List[str]) -> None:
    options = {"mount_point": str(module_mount.path)}
    before = module_mount.stats()["bytes"]
    assert load(consumer, "plain", module_mount.backing / "model", checkpoint, options=options) == all_equal()
    tensor_bytes = sum(os.path.getsize(path) for path in checkpoint)
    assert module_mount.stats()["bytes"] - before > 0.9 * tensor_bytes, "it did not come through USRBIO"


@pytest.mark.parametrize("queue_size", [-1, 0, 2])
def test_parallel_threefs_loader(consumer: Forked, module_mount: Mount, checkpoint: List[str], queue_size: int) -> None:
    reference = module_mount.backing / "model"
    assert load(consumer, "parallel", reference, checkpoint, options={"queue_size": queue_size}) == all_equal()


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("inferred", [False, True])
def test_auto_loader(
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool, inferred: bool
) -> None:
    extension = {} if inferred else {"mount_point": str(module_mount.path), "entries": 16, "buffer_size": 2 * MIB}
    settings = config(scratch, pipeline, **extension)
    reference = module_mount.backing / "model"
    assert load(consumer, "auto", reference, checkpoint, FASTSAFETENSORS_CONFIG=settings) == all_equal()


def test_where_an_engine_calls_another_loader(consumer: Forked, module_mount: Mount, checkpoint: List[str]) -> None:
    assert load(consumer, "swapped", module_mount.backing / "model", checkpoint) == all_equal()


@pytest.mark.parametrize("backend", ["python", "mock"])
def test_other_backends(consumer: Forked, module_mount: Mount, checkpoint: List[str], backend: str) -> None:
    reference = module_mount.backing / "model"
    environment = {"FASTSAFETENSORS_BACKEND": backend, "FST3FS_REQUIRE": ""}
    assert load(consumer, "parallel", reference, checkpoint, **environment) == all_equal()


@pytest.mark.parametrize("loader", ["plain", "parallel", "auto"])
def test_files_off_3fs(
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, loader: str, tmp_path: Path
) -> None:
    """fastsafetensors' own tests do this, with mount_point="/tmp"."""
    reference = module_mount.backing / "model"
    files = [str(path) for path in reference.iterdir()]
    environment = {"FST3FS_REQUIRE": "", "FASTSAFETENSORS_CONFIG": config(scratch, True, mount_point="/tmp")}
    options = {"mount_point": "/tmp"} if loader == "plain" else {}
    assert load(consumer, loader, reference, files, options=options, **environment) == all_equal()


# ------------------------------------------------------------------ several ranks


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    ("loader", "pipeline"), [("plain", False), ("parallel", True), ("auto", False), ("auto", True)]
)
def test_ranks(
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, ranks: int, loader: str, pipeline: bool
) -> None:
    reference = module_mount.backing / "model"
    options = {"mount_point": str(module_mount.path)} if loader == "plain" else {}
    settings, several = config(scratch, pipeline), {"ranks": ranks, "meeting": scratch / "meeting"}
    start(consumer, loader, reference, checkpoint, options=options, **several, FASTSAFETENSORS_CONFIG=settings)
    # One by one gloo sends no tensors of six of the types.
    assert finish(consumer) == [all_equal(TENSORS - 6 if loader == "plain" else TENSORS)] * ranks


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_truncated_shard(
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, pipeline: bool
) -> None:
    whole = (module_mount.backing / "model" / os.path.basename(checkpoint[1])).read_bytes()
    name = f"truncated-{pipeline}.safetensors"
    path = module_mount.write(name, whole[:-1000])
    (scratch / name).write_bytes(whole)  # what it should have been
    (scratch / os.path.basename(checkpoint[0])).write_bytes(
        (module_mount.backing / "model" / os.path.basename(checkpoint[0])).read_bytes()
    )
    settings = config(scratch, pipeline)
    error, left = load(consumer, "auto", scratch, [checkpoint[0], path], FASTSAFETENSORS_CONFIG=settings)
    assert re.match(r"\w*(Error|Exception): .", error), error
    assert left == []


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_answers_with_errors(
    consumer: Forked,
    serve: Callable[..., Mount],
    module_mount: Mount,
    checkpoint: List[str],
    scratch: Path,
    pipeline: bool,
) -> None:
    mount, files = served_again(serve, scratch, module_mount, checkpoint, "--fail-every", "3")
    environment = {"FASTSAFETENSORS_CONFIG": config(scratch, pipeline, mount_point=str(mount.path))}
    error, left = load(consumer, "auto", module_mount.backing / "model", files, **environment)
    assert error.startswith("OSError: [Errno 121]"), error
    assert ".safetensors" in error
    assert left == []


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_dies(
    consumer: Forked,
    serve: Callable[..., Mount],
    module_mount: Mount,
    checkpoint: List[str],
    scratch: Path,
    pipeline: bool,
) -> None:
    """Its requests never come back: the loader's thread gives up, and its caller gets the error."""
    mount, files = served_again(serve, scratch, module_mount, checkpoint, "--hang-every", "1")
    environment = {"FASTSAFETENSORS_CONFIG": config(scratch, pipeline), "FST3FS_TIMEOUT": "30"}
    start(consumer, "auto", module_mount.backing / "model", files, **environment)
    assert eventually(lambda: mount.stats()["in_flight"]["now"] > 0, 60)
    mount.kill()
    ((error, left),) = finish(consumer)
    assert re.match(r"(OSError|TimeoutError|ConnectionError|ConnectionAbortedError): \[Errno", error), error
    assert left == []
