# SPDX-License-Identifier: Apache-2.0
"""Rows of targets.py about tensors: what comes out of safe_open, and what it asks of storage for that."""

import os
import statistics
from contextlib import contextmanager
from typing import Callable, Iterator, List

from checkpoints import FIRST_OF_EIGHT, LAYERS, Shards, deepseek_r1, in_shards, mixed, write
from loaders import LOADERS, OURS, Delivery, Job, in_process, in_ranks
from measure import MIB, Run, in_turn, make_reader, median_rate, spread, timed, window
from rows import MB, Place, Plan, Row, Rows, served_place, sparse_files
from serve import KIB, LINK, NO_LINK, Link, scratch, serve

RowSet = Callable[[Plan], Rows]


def with_torch(name: str) -> Callable[[RowSet], RowSet]:
    """For a set that is one line, ``name`` and why, where torch is not installed."""

    def wrap(rows: RowSet) -> RowSet:
        def wrapped(plan: Plan) -> Rows:
            missing = LOADERS[OURS].missing()
            return iter([_skipped(name, missing)]) if missing else rows(plan)

        return wrapped

    return wrap


@contextmanager
def checkpoint(shards: Shards, link: Link, *, sparse: bool = True) -> Iterator[Place]:
    with scratch() as folder:
        names = write(folder, shards, sparse=sparse)
        with serve(folder, link) as served:
            yield served_place(served, names)


def job_of(place: Place, loader: str = OURS) -> Job:
    return Job(loader, place.mount_point, tuple(place.paths))


def _skipped(name: str, missing: List[str]) -> Row:
    return Row(name, None, None, detail=f"skipped: not installed: {', '.join(missing)}")


def _loaded(job: Job) -> Delivery:
    """By this package, through USRBIO."""
    delivery = in_process(job)
    assert delivery.info["transport"] == "usrbio", delivery.info
    assert not delivery.info["bytes_posix"], delivery.info
    return delivery


# ------------------------------------------------------------------ the link that a copy can follow


def _slower(rate: float) -> Link:
    """A link of about two thirds of ``rate``, LINK at most; no job fills it alone."""
    bandwidth = min(LINK.bandwidth_mbps, max(20, int(rate / MB * 0.66) // 20 * 20))
    return LINK._replace(bandwidth_mbps=bandwidth, job_mbps=min(LINK.job_mbps, bandwidth // 2))


def _follow(plan: Plan, shards: Shards) -> Link:
    """What tensors are filled at without a link decides how fast a link the copy can follow."""
    with checkpoint(shards, NO_LINK._replace(null=True)) as place:
        runs = [_loaded(job_of(place)).run for _ in range(plan.iterations)]
    return _slower(median_rate(runs))


#: That each sample should take at least, so that headers and the first request do not count.
SECONDS = 4


@with_torch("tensors(), 8 files of 2 MB to 200 MB tensors")
def whole_checkpoint(plan: Plan) -> Rows:
    """8 files with tensors of 2 MB to 200 MB."""
    link = _follow(plan, mixed(8))
    layer = sum(spec.nbytes for shard in mixed(8) for spec in shard)
    with checkpoint(mixed(8, -(-SECONDS * link.bandwidth_mbps * MB // layer)), link) as place:
        samples = [_loaded(job_of(place)) for _ in range(plan.iterations)]
    runs = [sample.run for sample in samples]
    name = f"tensors(), 8 files of 2 MB to 200 MB tensors, {link.bandwidth_mbps} MB/s"
    yield Row(name, median_rate(runs) / place.link_rate, 0.985, detail=spread(runs))
    yield _requests(samples[0])


def _requests(delivery: Delivery) -> Row:
    info = delivery.info
    fewest = info["bytes_requested"] / info["piece_size"]  # type: ignore[operator]
    detail = f"{info['requests']} of {int(info['piece_size']) >> 10} KiB at most"  # type: ignore[call-overload]
    name = "  requests / (bytes / piece size)"
    return Row(name, info["requests"] / fewest, 1.05, at_most=True, detail=detail)  # type: ignore[operator]


# ------------------------------------------------------------------ experts


@with_torch("DeepSeek-R1's layout")
def experts(plan: Plan) -> Rows:
    """Four layers of DeepSeek-R1 with their 256 experts, every tensor in its true size, in files of 2 GB.

    Without the two matrices of the vocabulary: half a percent of the model, they would be 7 % of four layers.
    """
    shards = in_shards([spec for spec in deepseek_r1(range(3, 7), 1) if ".layers." in spec.name], 24)
    link = _follow(plan, shards)
    with checkpoint(shards, link) as place:
        yield _layout(plan, place)
        yield from _one_rank(plan, place)


def _layout(plan: Plan, place: Place) -> Row:
    """Against the same files read whole, to nowhere: what the link gives."""

    ranges = [(path, 0, 0, os.stat(path).st_size) for path in place.paths]

    def read_whole() -> Run:
        with make_reader(place.mount_point) as reader:
            return timed(lambda: sum(reader.read_many(ranges)))

    ours, whole = in_turn(plan.iterations, lambda: _loaded(job_of(place)).run, read_whole)
    name = f"DeepSeek-R1's layout, tensors() / files read whole, {place.link_rate / MB:.0f} MB/s"
    return Row(name, median_rate(ours) / median_rate(whole), 0.97, detail=spread(ours))


def _one_rank(plan: Plan, place: Place) -> Rows:
    job = job_of(place)._replace(tensor_filter=FIRST_OF_EIGHT)
    samples = [_loaded(job) for _ in range(plan.iterations)]
    info = samples[0].info
    wanted = int(info["bytes_wanted"])  # type: ignore[call-overload]
    assert wanted == samples[0].run.nbytes, info
    ratio = info["bytes_requested"] / wanted  # type: ignore[operator]
    yield Row("  experts of one rank of 8: bytes requested / wanted", ratio, 1.02, at_most=True)
    seconds = statistics.median(sample.run.seconds for sample in samples)
    ratio = seconds / (wanted / place.link_rate)
    runs = [sample.run for sample in samples]
    yield Row("  ... time / (bytes wanted / link)", ratio, 1.10, at_most=True, detail=spread(runs))


# ------------------------------------------------------------------ ranks


@with_torch("ranks over gloo")
def ranks(plan: Plan) -> Rows:
    """How evenly ranks share the reading, over gloo. Files of very different sizes, and one large tensor."""
    shards = [mixed(1)[0], mixed(1)[0][1:3], mixed(1)[0][3:]]
    shards = [[spec._replace(name=f"{at}.{spec.name}") for spec in shard] for at, shard in enumerate(shards)]
    with checkpoint(shards, LINK) as place:
        for count in (2, 4):
            read = [int(d.info["bytes"]) for d in in_ranks(job_of(place), count)]  # type: ignore[call-overload]
            detail = " ".join(f"{nbytes / MB:.1f}" for nbytes in read) + " MB"
            name = f"{count} ranks over gloo, most bytes read / fewest"
            yield Row(name, max(read) / min(read), 1.01, at_most=True, detail=detail)


# ------------------------------------------------------------------ the first tensor


@with_torch("the first tensor of 163 shards")
def first_tensor(plan: Plan) -> Rows:
    """163 shards with the names of DeepSeek-R1: how long until a tensor is there, beside reading the headers alone."""
    shards = in_shards(deepseek_r1(range(LAYERS), 4), 163)
    link = LINK._replace(meta_latency_us=1000)
    with checkpoint(shards, link) as place:

        def headers() -> Run:
            with make_reader(place.mount_point) as reader:
                return timed(lambda: sum(begin for _, begin, _ in reader.read_headers_batch(place.paths, 8).values()))

        firsts = []
        for _ in range(plan.iterations):
            bare = headers()
            job = job_of(place)._replace(first_only=True)
            firsts.append((_loaded(job).first_seconds, bare.seconds))
    seconds = statistics.median(first for first, _ in firsts)
    bare_seconds = statistics.median(bare for _, bare in firsts)
    one_window = 64 * MIB / place.link_rate
    detail = f"{seconds * 1e3:.0f} ms; headers {bare_seconds * 1e3:.0f} ms, a window {one_window * 1e3:.0f} ms"
    yield Row(
        "163 shards, first tensor / (headers + a window)", seconds / (bare_seconds + one_window), None, detail=detail
    )


# ------------------------------------------------------------------ against other loaders


def loaders(plan: Plan) -> Rows:
    """Real bytes through LINK: every loader gets them from the same mount, in turn, and delivers the same tensors."""
    missing = {name: loader.missing() for name, loader in LOADERS.items()}
    there = [name for name in LOADERS if not missing[name]]
    if OURS in there:
        shards = mixed(2)
        largest = max(spec.nbytes for shard in shards for spec in shard)
        with checkpoint(shards, LINK._replace(null=False), sparse=False) as place:
            yield from _against(plan, [job_of(place, name)._replace(largest=largest) for name in there])
    for name in LOADERS:
        if missing[name]:
            yield _skipped(f"  safe_open / {name}", missing[name])


def _against(plan: Plan, jobs: List[Job]) -> Rows:
    """The first job is ours."""
    digests = [in_process(job._replace(digest=True)).digests for job in jobs]
    for job, digest in zip(jobs, digests):
        assert digest == digests[0], f"{job.loader} delivers other tensors"
    ours, *others = in_turn(plan.iterations, *(lambda j=job: in_process(j).run for job in jobs))
    rate = median_rate(ours)
    yield Row("safe_open, real bytes through LINK, GB/s", rate / 1e9, None, detail=spread(ours))
    for job, runs in zip(jobs[1:], others):
        yield Row(f"  safe_open / {job.loader}", rate / median_rate(runs), 1.0, detail=spread(runs))


# ------------------------------------------------------------------ gaps


def gaps(plan: Plan) -> Rows:
    """How FST3FS_PLAN_GAP was chosen: what a request costs, and reading over gaps against a request for each range."""
    with sparse_files(LINK, 1, 64 * MIB) as place:
        runs = [window(place.mount_point, place.paths, 4 * KIB, 32) for _ in range(plan.iterations)]
        seconds = 4 * KIB / median_rate(runs)
        detail = f"{seconds * 1e6:.1f} us for each request of 4 KiB, 32 in flight"
        yield Row(
            "what the link carries in the time of a request, KiB", seconds * place.link_rate / KIB, None, detail=detail
        )
    with sparse_files(LINK, 1) as place:
        for gap in (16, 32, 64, 128, 256):
            yield _gap(plan, place, gap)


def _gap(plan: Plan, place: Place, gap: int, wanted: int = 4) -> Row:
    ranges = [(place.paths[0], 0, n * (gap + wanted) * KIB, wanted * KIB) for n in range(2000)]
    end = ranges[-1][2] + ranges[-1][3]
    with make_reader(place.mount_point) as reader:
        over, apart = in_turn(
            plan.iterations,
            lambda: timed(lambda: reader.read_chunked(place.paths[0], 0, 0, end)),
            lambda: timed(lambda: sum(reader.read_many(ranges))),
        )
    each = [statistics.median(run.seconds for run in runs) / len(ranges) * 1e6 for runs in (over, apart)]
    detail = f"{each[0]:.1f} us and {each[1]:.1f} us for each range"
    name = f"{wanted} KiB ranges, gaps of {gap} KiB: time read over / read apart"
    return Row(name, each[0] / each[1], None, detail=detail)


#: Row sets by the name that selects them.
SETS = {
    "tensors": whole_checkpoint,
    "experts": experts,
    "ranks": ranks,
    "first": first_tensor,
    "loaders": loaders,
    "gap": gaps,
}
