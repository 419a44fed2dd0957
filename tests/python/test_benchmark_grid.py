# SPDX-License-Identifier: Apache-2.0
"""The benchmark's command line, and which combinations become of it."""

from pathlib import Path
from typing import List

import pytest
from args import Options, parse
from grid import Range, build, estimate_s, shares
from serve import LINK, MIB, Link, parse_link
from ways import WAYS, Way, backend

PEERS = {way.name: way for way in WAYS}


def options(*words: str) -> Options:
    return parse(["--mount-point", "/", *words])


def ways(*names: str) -> List[Way]:
    return [PEERS.get(name) or backend(name) for name in names]


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "one of the arguments --mount-point --serve is required"),
        (["--mount-point", "/", "--serve", "/"], "not allowed with"),
        (["--serve"], "--serve needs a directory, or --generate"),
        (["--mount-point", "/no/such/place"], "/no/such/place: no such directory"),
        (["--serve", "/no/such/place"], "/no/such/place: no such directory"),
        (["--mount-point", "/", "--link", "1,2,3"], "go with --serve"),
        (["--mount-point", "/", "--generate", "1"], "go with --serve"),
        (["--mount-point", "/", "--null"], "go with --serve"),
        (["--serve", "/", "--link", "1,2"], "a link is 3 to 5 whole numbers"),
        (["--serve", "/", "--link", "1,2,-3"], "a link is 3 to 5 whole numbers"),
        (["--serve", "/", "--null", "--dest", "host"], "--null moves no bytes"),
        (["--serve", "--generate", "0"], "below 0.001"),
        (["--serve", "--generate", "nan"], "below 0.001"),
        (["--mount-point", "/", "--buffer-sizes", "8,x"], "'8,x' is not a list of numbers"),
        (["--mount-point", "/", "--buffer-sizes", "0"], "below 0.001"),
        (["--mount-point", "/", "--buffer-sizes", "inf"], "absurd"),
        (["--mount-point", "/", "--chunk-sizes", "-1"], "below 0"),
        (["--mount-point", "/", "--num-processes", "1,0"], "below 1"),
        (["--mount-point", "/", "--iterations", "0"], "below 1"),
        (["--mount-point", "/", "--iterations", "1,2"], "more than one number"),
        (["--mount-point", "/", "--warmup", "1.5"], "not a list of numbers"),
        (["--mount-point", "/", "--backends", ","], "names none"),
        (["--mount-point", "/", "--benchmark-op", "write"], "invalid choice"),
        (["--mount-point", "/", "--dest", "disk"], "invalid choice"),
        (["--mount-point", "/", "--download-only", "--dest", "host"], "not allowed with"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    words: List[str], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(words)
    assert refusal.value.code == 2
    assert complaint in capsys.readouterr().err


def test_defaults_are_those_of_the_contract() -> None:
    defaults = options()
    sizes = tuple(n * MIB for n in (8, 16, 32, 64, 128, 256, 512, 1024))
    assert defaults.backends == ("mock", "python", "c")
    assert (defaults.buffers, defaults.chunks) == (sizes, None)
    assert (defaults.processes, defaults.iterations) == ((1, 2, 4, 8), 3)
    assert (defaults.single, defaults.output_dir) == (False, "./benchmark_results")
    assert options("--decouple-chunk-buffer").chunks == sizes


def test_sizes_may_be_fractions_and_repetitions_count_once() -> None:
    assert options("--buffer-sizes", "0.5,16,0.5").buffers == (MIB // 2, 16 * MIB)


def test_download_only_and_null_deliver_nowhere() -> None:
    assert options("--download-only").dest == "none"
    assert parse(["--serve", "/", "--null"]).dest == "none"
    assert options().dest is None


def test_a_link_becomes_options_of_the_daemon() -> None:
    link = parse_link("500,4000,500")._replace(null=True)
    assert link == LINK
    assert link.options() == [
        *("--latency-us=500", "--bandwidth-mbps=4000", "--job-mbps=500"),
        *("--chunk-kb=1024", "--null"),
    ]
    assert parse_link("1,2,3,4,5") == Link(1, 2, 3, 4, 5)


# ------------------------------------------------------------------ the grid


def test_by_default_the_chunk_is_the_buffer() -> None:
    grid = build(options("--buffer-sizes", "8,16", "--num-processes", "1,2"), ways("c"), 8, 8)
    assert [(r.buffer // MIB, r.chunk // MIB, r.processes) for r in grid.runs] == [
        (8, 8, 1),
        (16, 16, 1),
        (8, 8, 2),
        (16, 16, 2),
    ]
    assert not grid.skipped


def test_a_chunk_larger_than_the_buffer_is_skipped_and_counted() -> None:
    given = options("--buffer-sizes", "8,16", "--chunk-sizes", "0,8,16,32", "--num-processes", "1")
    grid = build(given, ways("c"), 8, 8)
    assert [(r.buffer // MIB, r.chunk // MIB) for r in grid.runs] == [(8, 0), (8, 8), (16, 0), (16, 8), (16, 16)]
    assert grid.skipped == {"chunk larger than buffer": 3}


def test_mock_has_no_sizes() -> None:
    grid = build(options("--num-processes", "1,4"), ways("mock"), 8, 8)
    assert [(r.buffer, r.chunk, r.processes) for r in grid.runs] == [(0, 0, 1), (0, 0, 4)]
    assert grid.skipped == {"sizes mean nothing to mock": 14}


def test_mock_is_not_asked_to_reach_a_gpu() -> None:
    grid = build(options("--num-processes", "1,4", "--dest", "cuda", "--buffer-sizes", "8"), ways("mock", "c"), 8, 8)
    assert [r.way for r in grid.runs] == ["c", "c"]
    assert grid.skipped == {"mock does not reach a GPU": 2}


def test_peers_use_the_whole_buffer_for_a_request() -> None:
    given = options("--buffer-sizes", "8,16", "--chunk-sizes", "0,4", "--num-processes", "1")
    grid = build(given, ways("one request", "plain read", "safetensors mmap"), 8, 8)
    assert [(r.way, r.buffer // MIB, r.chunk // MIB) for r in grid.runs] == [
        ("one request", 8, 8),
        ("one request", 16, 16),
        ("plain read", 8, 8),
        ("plain read", 16, 16),
        ("safetensors mmap", 0, 0),
    ]


def test_loaders_of_whole_files_need_one_for_each_process() -> None:
    grid = build(options("--num-processes", "1,4"), ways("fastsafetensors"), 3, 3)
    assert [r.processes for r in grid.runs] == [1]
    assert any("whole files" in reason for reason in grid.skipped)


def test_single_takes_the_first_of_each_list() -> None:
    given = options("--mode", "single", "--buffer-sizes", "64,8", "--num-processes", "2,1", "--benchmark-op", "both")
    grid = build(given, ways("mock", "c"), 64, 64)
    assert [(r.op, r.way, r.buffer // MIB, r.processes, r.batch, r.threads) for r in grid.runs] == [
        ("read_chunked", "mock", 0, 2, 0, 0),
        ("read_chunked", "c", 64, 2, 0, 0),
        ("headers_batch", "mock", 0, 2, 8, 4),
        ("headers_batch", "c", 0, 2, 8, 4),
    ]


def test_headers_are_swept_by_batch_and_threads_as_far_as_files_reach() -> None:
    given = options("--benchmark-op", "headers_batch", "--batch-sizes", "4,8,64", "--num-processes", "1")
    grid = build(given, ways("c", "plain read"), 10, 10)
    assert [(r.batch, r.threads) for r in grid.runs] == [(4, 4), (4, 8), (4, 16), (8, 4), (8, 8), (8, 16)]
    assert sum(grid.skipped.values()) == 3 + 9


def test_more_runs_are_estimated_to_take_longer() -> None:
    chosen = ways("c", "one request")
    slow = parse(["--serve", "/", "--link", "500,4000,500", "--buffer-sizes", "8", "--num-processes", "1"])
    few = build(slow, chosen, 8, 8)
    many = build(slow._replace(buffers=(8 * MIB, 16 * MIB)), chosen, 8, 8)
    assert 0 < 2 * estimate_s(few, slow, chosen, 10**9) == pytest.approx(estimate_s(many, slow, chosen, 10**9))
    # One request at a time gets what one job gets: 2 s for each GB.
    assert estimate_s(few, slow, ways("one request", "c"), 10**9) > 3 * (2 + 0.25)


# ------------------------------------------------------------------ shares


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("lengths", [[10 * MIB + 5], [MIB, 7 * MIB, 1, 31 * MIB], [3] * 5])
def test_shares_hold_every_byte_once_and_end_where_chunks_end(processes: int, lengths: List[int]) -> None:
    files = [Range(f"f{n}", 4096, length) for n, length in enumerate(lengths)]
    parts = shares(files, processes, whole_files=False)
    assert len(parts) == processes
    assert all(r.length > 0 for part in parts for r in part)
    for file in files:
        pieces = [r for part in parts for r in part if r.path == file.path]
        assert [r.offset for r in pieces[1:]] == [r.offset + r.length for r in pieces[:-1]]
        assert (pieces[0].offset, sum(r.length for r in pieces)) == (file.offset, file.length)
        assert all(r.offset % MIB == 0 for r in pieces[1:])


def test_shares_are_even() -> None:
    parts = shares([Range("a", 0, 64 * MIB), Range("b", 0, 32 * MIB)], 3, whole_files=False)
    assert [sum(r.length for r in part) for part in parts] == [32 * MIB] * 3


def test_whole_files_are_never_cut() -> None:
    files = [Range(str(Path("f", str(n))), 8, (n + 1) * MIB) for n in range(5)]
    parts = shares(files, 2, whole_files=True)
    assert sorted(r for part in parts for r in part) == sorted(files)
    assert abs(sum(r.length for r in parts[0]) - sum(r.length for r in parts[1])) <= MIB
