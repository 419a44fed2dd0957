# SPDX-License-Identifier: Apache-2.0
"""Rows of targets.py about fastsafetensors: with this package's copier, beside the one that it has of its own."""

import statistics

from checkpoints import FIRST_OF_EIGHT, Shards, Spec, deepseek_r1, in_shards, mixed, write
from loaders import COPIER, LOADERS, THEIRS, Delivery, Job, in_process
from measure import MIB, in_turn, median_rate, spread
from rows import Plan, Row, Rows, served_place
from serve import LINK, Link, scratch, serve
from tensor_rows import checkpoint

CHUNK = 64 * MIB
#: Buffers that fastsafetensors' pipeline has at most: one that is filled and one that is given out.
BUFFERS = 2


def _gigabyte(count: int = 1) -> Shards:
    """Shards of 1 GB, in tensors of 16 MB."""
    return [[Spec(f"{shard}.{number:02}", "BF16", (1000, 8000)) for number in range(64)] for shard in range(count)]


def copier(plan: Plan) -> Rows:
    """A filter, the first tensor, chunks, and a whole load."""
    missing = LOADERS[COPIER].missing()
    if missing:
        yield Row("fastsafetensors with this copier", None, None, detail=f"skipped: not installed: {missing}")
        return
    yield _filter()
    with checkpoint(_gigabyte(), LINK) as place:
        job = Job(COPIER, place.mount_point, tuple(place.paths))
        yield _first(plan, job)
        yield _chunks(job)
    yield _whole(plan, LINK._replace(null=False))


def _loaded(job: Job) -> Delivery:
    delivery = in_process(job)
    assert delivery.info["transport"] == "usrbio", delivery.info
    assert not delivery.info["bytes_posix"], delivery.info
    return delivery


def _filter() -> Row:
    """What the daemon was asked for, of four layers of DeepSeek-R1, a quarter in each dimension."""
    with scratch() as folder:
        names = write(folder, in_shards(deepseek_r1(range(3, 7), 4), 8))
        with serve(folder, LINK) as served:
            place = served_place(served, names)
            job = Job(COPIER, place.mount_point, tuple(place.paths), tensor_filter=FIRST_OF_EIGHT)
            wanted = _loaded(job).run.nbytes
            read = served.daemon.stats()["bytes"]
    detail = f"{wanted / MIB:.0f} MiB wanted"
    return Row(
        "fastsafetensors, experts of one rank of 8: bytes read / wanted",
        read / wanted,
        1.02,
        at_most=True,
        detail=detail,
    )


def _first(plan: Plan, job: Job) -> Row:
    firsts = [job._replace(loader=loader, first_only=True) for loader in (COPIER, THEIRS)]
    samples = [[in_process(first).first_seconds for first in firsts] for _ in range(plan.iterations)]
    ours, theirs = zip(*samples)
    ratio = statistics.median(ours) / statistics.median(theirs)
    detail = " ".join(f"{seconds * 1e3:.0f}" for seconds in [*ours, *theirs]) + " ms, ours first"
    return Row("  first tensor of a shard of 1 GB, time / its own copier's", ratio, 0.25, at_most=True, detail=detail)


def _chunks(job: Job) -> Row:
    peak = int(_loaded(job._replace(max_batch_bytes=CHUNK)).info["peak_buffer_bytes"])  # type: ignore[call-overload]
    detail = f"{peak / MIB:.0f} MiB in buffers"
    ratio = peak / (BUFFERS * CHUNK)
    return Row(
        "  max_batch_bytes of 64 MiB: most bytes in buffers / two of them", ratio, 1.0, at_most=True, detail=detail
    )


def _whole(plan: Plan, link: Link) -> Row:
    """Real bytes, copied to parameters as an engine does."""
    shards = mixed(2)
    largest = max(spec.nbytes for shard in shards for spec in shard)
    with checkpoint(shards, link, sparse=False) as place:
        job = Job(COPIER, place.mount_point, tuple(place.paths), largest=largest)
        ours, theirs = in_turn(
            plan.iterations, lambda: _loaded(job).run, lambda: in_process(job._replace(loader=THEIRS)).run
        )
    detail = f"{spread(ours)}; its own: {spread(theirs)}"
    return Row("  whole load, rate / its own copier's", median_rate(ours) / median_rate(theirs), 1.0, detail=detail)


SETS = {"copier": copier}
