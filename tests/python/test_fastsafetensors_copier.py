# SPDX-License-Identifier: Apache-2.0
"""This package's copier under fastsafetensors' own loaders, as published, over a real mount.

`make test` runs this with the version of requirements-test.txt, `make test-fastsafetensors` with older ones, in which
what a version does not have is left out.
"""

import json
import os
import re
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import pytest
from forked import Forked
from support import MIB, Mount
from test_fastsafetensors import (
    MISSING,
    SHARDS,
    TENSORS,
    Outcome,
    all_equal,
    checkpoint,
    results,
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


class Loaded(NamedTuple):
    """What one rank's load came back with, as consumer_cases.py says."""

    peak: int
    held: int
    before: int
    end: str
    left: List[str]

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.end, self.left)


def load_ranks(consumer: Forked, *arguments: Any, **kwargs: Any) -> List[Loaded]:
    start(consumer, *arguments, copier=True, **kwargs)
    return [Loaded(**result) for result in results(consumer)]


def load(consumer: Forked, *arguments: Any, **kwargs: Any) -> Loaded:
    """By one rank."""
    (loaded,) = load_ranks(consumer, *arguments, **kwargs)
    return loaded


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
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, loader: str, pipeline: bool, ranks: int
) -> None:
    sendable(loader, ranks)
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    options = {"mount_point": str(module_mount.path)} if loader == "plain" else {}
    settings = config(scratch, {}, use_pipeline=pipeline)
    several = {"ranks": ranks, "meeting": scratch / "meeting"} if ranks > 1 else {}
    found = load_ranks(
        consumer, loader, reference, checkpoint, options=options, **several, FASTSAFETENSORS_CONFIG=settings
    )
    # One by one gloo sends no tensors of six of the types.
    assert [loaded.outcome for loaded in found] == [
        all_equal(TENSORS - 6 if loader == "plain" and ranks > 1 else TENSORS)
    ] * ranks
    read = module_mount.stats()["bytes"] - before
    wanted = tensor_bytes(reference)
    # Of its last shards a rank may want nothing that the other can be sent.
    assert (0.5 if loader == "plain" and ranks > 1 else 1) * wanted <= read <= 1.02 * wanted


# ------------------------------------------------------------------ a part of the tensors


@pytest.mark.parametrize("only", [r"\.(bfloat16|int64)$", r"^[2-4]\.", r"\.scalar$", "nothing"])
def test_a_filter_saves_reads(consumer: Forked, module_mount: Mount, checkpoint: List[str], only: str) -> None:
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    loaded = load(consumer, "parallel", reference, checkpoint, only=only)
    wanted = tensor_bytes(reference, only)
    count = {r"^[2-4]\.": 3 * TENSORS, "nothing": 0, r"\.scalar$": SHARDS}.get(only, 2 * SHARDS)
    assert loaded.outcome == (f"{count} equal", [])
    assert wanted <= module_mount.stats()["bytes"] - before <= 1.02 * wanted


# ------------------------------------------------------------------ chunks and budgets


@CHUNKS
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("pipeline", "buffers"), [(False, 1), (True, 2)])
def test_max_batch_bytes(
    consumer: Forked,
    module_mount: Mount,
    checkpoint: List[str],
    scratch: Path,
    pipeline: bool,
    buffers: int,
    ranks: int,
) -> None:
    sendable("auto", ranks)
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    settings = config(scratch, {}, use_pipeline=pipeline, max_batch_bytes=CHUNK)
    several = {"ranks": ranks, "meeting": scratch / "meeting"} if ranks > 1 else {}
    for loaded in load_ranks(consumer, "auto", reference, checkpoint, **several, FASTSAFETENSORS_CONFIG=settings):
        assert loaded.outcome == all_equal()
        assert loaded.peak <= buffers * CHUNK
        assert loaded.peak > 0 or not has("allocation")
    assert module_mount.stats()["bytes"] - before <= 1.02 * tensor_bytes(reference)


@CHUNKS
@pytest.mark.parametrize(
    ("option", "only"), [({"use_chunk_budget_as_allocation_size": True}, ""), ({}, "float")], ids=["size", "only"]
)
def test_chunks_with_other_options(
    consumer: Forked, module_mount: Mount, checkpoint: List[str], option: Dict[str, bool], only: str
) -> None:
    reference, before = module_mount.backing / "model", module_mount.stats()["bytes"]
    loaded = load(consumer, "parallel", reference, checkpoint, options={"max_batch_bytes": CHUNK, **option}, only=only)
    assert loaded.outcome == all_equal(6 if only else TENSORS)
    assert loaded.peak <= 2 * CHUNK
    assert module_mount.stats()["bytes"] - before <= 1.02 * tensor_bytes(reference, only)


@CHUNKS
@pytest.mark.parametrize("resident", [True, False])
def test_vllms_call_with_a_budget(consumer: Forked, module_mount: Mount, checkpoint: List[str], resident: bool) -> None:
    """What vLLM makes of a ParallelLoader, with the keyword that it is to get."""
    reference = module_mount.backing / "model"
    budget = 1_000_000 + resident * tensor_bytes(reference)
    options = {"device_memory_budget": budget, "accumulate_resident": resident}
    loaded = load(consumer, "swapped", reference, checkpoint, options=options)
    assert loaded.outcome == all_equal()
    assert (loaded.held if resident else loaded.peak) <= budget


@CHUNKS
def test_a_budget_that_is_too_small(consumer: Forked, module_mount: Mount, checkpoint: List[str]) -> None:
    reference = module_mount.backing / "model"
    error, left = load(consumer, "swapped", reference, checkpoint, options={"device_memory_budget": 1_000_000}).outcome
    assert error.startswith("BudgetInfeasibleError: "), error
    assert left == []


# ------------------------------------------------------------------ tensors as they come


def hanging(serve: Callable[..., Mount], scratch: Path, first: Mount, checkpoint: List[str]) -> List[str]:
    """Its first shard alone, whose requests are not mixed with another's: of 64 KiB, one of them never comes back."""
    return served_again(serve, scratch, first, checkpoint[:1], "--hang-every", "20")[1]


@READINESS
def test_tensors_come_while_their_shard_is_read(
    consumer: Forked, serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path
) -> None:
    """Those before the request that never comes back are given out; those after it say what is wrong, in time."""
    files = hanging(serve, scratch, module_mount, checkpoint)
    section = {"buffer_size": MIB, "timeout": 3}
    began = time.monotonic()
    settings = config(scratch, section, use_pipeline=True)
    loaded = load(consumer, "auto", module_mount.backing / "model", files, FASTSAFETENSORS_CONFIG=settings)
    assert 0 < loaded.before < TENSORS
    assert re.match(r"TimeoutError: \[Errno 110\].*\.safetensors", loaded.end), loaded.outcome
    assert loaded.left == []
    assert time.monotonic() - began < 60, "it was not the section's time-out"


@READINESS
def test_without_overlap_a_shard_comes_whole_or_not_at_all(
    consumer: Forked, serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str], scratch: Path
) -> None:
    files = hanging(serve, scratch, module_mount, checkpoint)
    options = {"buffer_size": MIB, "timeout": 3, "overlap_io": False}
    loaded = load(consumer, "parallel", module_mount.backing / "model", files, options=options)
    assert loaded.before == 0
    assert loaded.end.startswith("TimeoutError: "), loaded.outcome


@pytest.mark.parametrize("leave", [1, TENSORS + 1])
def test_left_early(consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, leave: int) -> None:
    """What nobody waits for any more is given up, and the reader with it."""
    settings = config(scratch, {}, use_pipeline=True)
    reference = module_mount.backing / "model"
    loaded = load(consumer, "auto", reference, checkpoint, leave=leave, FASTSAFETENSORS_CONFIG=settings)
    assert loaded.outcome == (f"{leave} equal", [])


# ------------------------------------------------------------------ settings


def test_settings_of_the_section(consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path) -> None:
    section = {"entries": 8, "io_depth": 4, "buffer_size": 2 * MIB, "timeout": 20, "usrbio": "builtin"}
    settings = config(scratch, {**section, "require": "usrbio"}, use_pipeline=True)
    environment = {"FST3FS_REQUIRE": "", "FST3FS_TIMEOUT": "nonsense", "FASTSAFETENSORS_CONFIG": settings}
    assert load(consumer, "auto", module_mount.backing / "model", checkpoint, **environment).outcome == all_equal()


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
    consumer: Forked, module_mount: Mount, checkpoint: List[str], scratch: Path, section: Dict[str, Any], error: str
) -> None:
    settings = config(scratch, section)
    environment = {"FST3FS_REQUIRE": "", "FASTSAFETENSORS_CONFIG": settings}
    loaded = load(consumer, "auto", module_mount.backing / "model", checkpoint, **environment)
    assert re.match(error, loaded.end), loaded.outcome


def test_a_backend_that_cannot_read_in_the_background(consumer: Forked) -> None:
    answer = consumer.run("register", environment={"FASTSAFETENSORS_BACKEND": "mock"})
    assert answer.error.startswith("RuntimeError: this copier needs backend 'c', and 'mock' is the active one")


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("pipeline", [False, True])
def test_a_daemon_that_answers_with_errors(
    consumer: Forked,
    serve: Callable[..., Mount],
    module_mount: Mount,
    checkpoint: List[str],
    scratch: Path,
    pipeline: bool,
) -> None:
    _, files = served_again(serve, scratch, module_mount, checkpoint, "--fail-every", "3")
    settings = config(scratch, {}, use_pipeline=pipeline)
    error, left = load(consumer, "auto", module_mount.backing / "model", files, FASTSAFETENSORS_CONFIG=settings).outcome
    assert re.match(r"OSError: \[Errno 121\].*\.safetensors", error), error
    assert left == []


def test_a_shard_that_was_cut_after_its_header_was_read(
    consumer: Forked, serve: Callable[..., Mount], module_mount: Mount, checkpoint: List[str]
) -> None:
    mount = serve("--attr-timeout-s", "0")
    name = os.path.basename(checkpoint[0])
    path = mount.write(name, (module_mount.backing / "model" / name).read_bytes())
    answer = consumer.run("truncate", mount=str(mount.path), path=path, behind=str(mount.backing / name))
    assert re.match(rf"OSError: \[Errno 5\] .*the file ends within tensor data.*{name}", answer.error), answer.log
