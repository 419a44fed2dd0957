# SPDX-License-Identifier: Apache-2.0
"""Every loader of the benchmark at work: the same tensors from the same mount, and what its rows are made of."""

import multiprocessing.resource_tracker
from pathlib import Path
from typing import Iterator

import loaders
import pytest
import tensor_rows
from checkpoints import Shards, Spec
from forked import Forked
from loaders import LOADERS, OURS, Delivery, Job, in_process, in_ranks
from measure import Run
from rows import Place, Plan
from serve import LINK

SHARDS: Shards = [
    [Spec(f"{shard}.{at}", dtype, (rows, 500)) for at, (dtype, rows) in enumerate([("BF16", 3000), ("F32", 7)])]
    for shard in range(2)
]
NBYTES = sum(spec.nbytes for shard in SHARDS for spec in shard)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    multiprocessing.resource_tracker.ensure_running()  # once for a process; nothing that a test leaves
    with tensor_rows.checkpoint(SHARDS, LINK._replace(null=False), sparse=False) as served:
        yield served


@pytest.fixture
def job(place: Place) -> Job:
    return tensor_rows.job_of(place)


def delivered(consumer: Forked, job: Job) -> Delivery:
    """As ``in_process``, without the seconds that importing PyTorch takes; that one has a test below."""
    answer = consumer.run("sample", folder=str(Path(loaders.__file__).parent), job=job)
    assert answer.error == "", answer.log
    run, *rest = answer.result
    return Delivery(Run(*run), *rest)


def test_all_loaders_deliver_the_same_tensors(consumer: Forked, job: Job) -> None:
    there = [name for name, loader in LOADERS.items() if not loader.missing()]
    assert {OURS, "safetensors", "fastsafetensors 3fs"} <= set(there)
    deliveries = {name: delivered(consumer, job._replace(loader=name, digest=True)) for name in there}
    for name, delivery in deliveries.items():
        assert delivery.digests == deliveries[OURS].digests, name
        assert delivery.run.nbytes == NBYTES, name
        assert 0 < delivery.first_seconds < delivery.run.seconds, name
    assert sorted(deliveries[OURS].digests) == sorted(spec.name for shard in SHARDS for spec in shard)
    assert len(set(deliveries[OURS].digests.values())) == 4
    info = deliveries[OURS].info
    assert (info["transport"], info["bytes"], info["bytes_posix"]) == ("usrbio", NBYTES, 0)


def test_part_of_it(consumer: Forked, job: Job) -> None:
    """The first tensor alone, and what a filter wants; copied to a parameter, and kept."""
    first = delivered(consumer, job._replace(first_only=True))
    assert first.run.nbytes == SHARDS[0][1].nbytes  # the wide types come first
    largest = SHARDS[0][0].nbytes
    wanted = in_process(job._replace(tensor_filter=("1.*",), largest=largest, keep=True))
    assert wanted.run.nbytes == wanted.info["bytes_wanted"] == NBYTES // 2


def test_ranks_each_get_everything(job: Job) -> None:
    deliveries = in_ranks(job._replace(digest=True), 2)
    assert deliveries[0].digests == deliveries[1].digests
    read = [delivery.info["bytes"] for delivery in deliveries]
    assert sum(read) == NBYTES  # type: ignore[arg-type]


def test_what_a_row_is_skipped_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = LOADERS[OURS]._replace(needs=("no_such_module",))
    monkeypatch.setitem(LOADERS, OURS, nobody)
    (row,) = tensor_rows.ranks(Plan(1, print))
    assert (row.ratio, row.met, row.detail) == (None, None, "skipped: not installed: no_such_module")


def test_requests_against_their_bytes(consumer: Forked, job: Job) -> None:
    delivery = delivered(consumer, job)
    row, info = tensor_rows._requests(delivery), delivery.info
    assert row.ratio == info["requests"] * info["piece_size"] / info["bytes_requested"]  # type: ignore[operator]
    assert row.met is False  # each small file has a request of its own
