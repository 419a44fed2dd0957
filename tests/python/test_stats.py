# SPDX-License-Identifier: Apache-2.0
"""Counters and traces: they agree with the daemon's own, and with what was asked for."""

import json
import os
import re
import signal
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from fst3fs import parsed, run
from support import MIB, Mount, eventually, python, random_bytes

from fastsafetensor_3fs_reader import ThreeFSFileReader, traceplot
from fastsafetensor_3fs_reader.cli import exits
from fastsafetensor_3fs_reader.stats import COUNTERS, Stats

SIZE = 40 * MIB


def read(reader: ThreeFSFileReader, path: str, size: int = SIZE) -> None:
    assert reader.read_chunked(path, 0, 0, size) == size


def test_counters_agree_with_the_daemons(serve: Callable[..., Mount], open_reader: Callable[..., Any]) -> None:
    mount = serve("--latency-us", "3000")
    path = mount.write("f", random_bytes(SIZE))
    reader = open_reader(mount, buffer_size=16 * MIB)
    read(reader, path)
    stats, daemon = reader.stats(), mount.stats()
    assert (stats.requests, stats.bytes, stats.reads) == (daemon["requests"], SIZE, 1)
    assert sum(stats.latency) == stats.requests
    assert stats.in_flight == stats.given_up == stats.fallbacks == stats.bytes_posix == 0
    assert stats.in_flight_max == daemon["in_flight"]["max"] == reader.info()["window"]
    assert 0 < stats.in_flight_average <= stats.in_flight_max
    # No request took less than the daemon made it take: none is in a bucket below.
    assert sum(stats.latency[:11]) == 0
    assert stats.latency_average_us >= 3000
    assert stats.latency_us(0.5) >= 4096
    assert stats.io_wait_ns > 0


def test_a_difference_is_what_happened_between(mount: Mount, open_reader: Callable[..., Any]) -> None:
    path = mount.write("f", random_bytes(SIZE))
    reader = open_reader(mount, buffer_size=4 * MIB)
    read(reader, path)
    before = reader.stats()
    read(reader, path, 10 * MIB)
    change = reader.stats().since(before)
    assert (change.reads, change.bytes) == (1, 10 * MIB)
    assert sum(change.latency) == change.requests > 0
    assert change.now_ns > 0
    assert change.since(change) == change._replace(
        **dict.fromkeys(COUNTERS, 0), now_ns=0, latency_ns=0, latency=[0] * len(change.latency)
    )


def test_what_goes_through_the_system_is_counted(mount: Mount, scratch: Path) -> None:
    outside = scratch / "outside"
    outside.write_bytes(random_bytes(MIB))
    with ThreeFSFileReader(mount.path) as reader:
        read(reader, str(outside), MIB)
        stats = reader.stats()
    assert (stats.fallbacks, stats.bytes_posix) == (1, MIB)


def test_giving_up_is_counted_and_nothing_stays_in_flight(serve: Callable[..., Mount]) -> None:
    mount = serve("--hang-every", "3")
    path = mount.write("f", random_bytes(SIZE))
    with ThreeFSFileReader(mount.path, timeout=0.5) as reader:
        with pytest.raises(TimeoutError):
            read(reader, path)
        stats = reader.stats()
    assert (stats.given_up, stats.in_flight) == (1, 0)


METRIC = re.compile(r'[a-z0-9_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+')


def test_prometheus_can_read_it(mount: Mount, open_reader: Callable[..., Any]) -> None:
    reader = open_reader(mount)
    read(reader, mount.write("f", random_bytes(MIB)), MIB)
    text = reader.stats().prometheus(mount=str(mount.path), rank="0")
    lines = text.splitlines()
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ")) or METRIC.fullmatch(line), line
    assert f'fst3fs_bytes_total{{mount="{mount.path}",rank="0"}} {MIB}' in lines
    buckets = [int(line.rpartition(" ")[2]) for line in lines if "_bucket{" in line]
    assert buckets == sorted(buckets)
    assert buckets[-1] == reader.stats().requests
    assert 'a="\\"\\\\\\n"' in Stats(*[0] * 17, latency=[0] * 28).prometheus(a='"\\\n')  # type: ignore[arg-type]


# ------------------------------------------------------------------ traces


def spans(path: Path) -> List[Dict[str, Any]]:
    """As a viewer reads them: an array whose end is missing."""
    text = path.read_text().rstrip().rstrip(",")
    return [event for event in json.loads(text + "]") if event["ph"] == "X"]


def written(folder: Path) -> Path:
    """The trace in a folder: not the first of this process, it has a number."""
    (file,) = folder.glob("trace.json*")
    return file


def test_a_trace_has_a_row_for_each_slot(mount: Mount, scratch: Path) -> None:
    path = mount.write("f", random_bytes(SIZE))
    file = scratch / "trace.json"
    target = bytearray(SIZE)
    with ThreeFSFileReader(mount.path, buffer_size=8 * MIB, trace=file, require="usrbio") as reader:
        reader.read_headers_batch([])
        read(reader, path)
        requests = reader.stats().requests
        assert len(spans(written(scratch))) > 0  # when the call has ended
    del target
    found = spans(written(scratch))
    reading = [event for event in found if event["name"] == "reading"]
    assert len(reading) == requests
    assert sum(event["args"]["bytes"] for event in reading) == SIZE
    for row in {event["tid"] for event in reading}:
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in found if e["tid"] == row)
        assert all(before[1] <= after[0] + 0.002 for before, after in zip(mine, mine[1:])), f"row {row} overlaps"
    assert any(event["name"] == "open" for event in found)
    assert any(event["name"].startswith("wait") for event in found)


def test_without_one_nothing_is_written(mount: Mount, scratch: Path, open_reader: Callable[..., Any]) -> None:
    before = set(os.listdir(scratch))
    read(open_reader(mount), mount.write("f", random_bytes(MIB)), MIB)
    assert set(os.listdir(scratch)) == before


def test_a_trace_that_cannot_be_written_is_an_error(mount: Mount) -> None:
    with pytest.raises(FileNotFoundError, match=r"trace\.json"):
        ThreeFSFileReader(mount.path, trace="/nowhere/at/all/trace.json")


KILLED = """
import sys, time
from fastsafetensor_3fs_reader import ThreeFSFileReader
reader = ThreeFSFileReader(sys.argv[1], buffer_size=1 << 20)
while True:
    reader.read_chunked(sys.argv[2], 0, 0, 8 << 20)
    print("read", flush=True)
"""


def test_the_trace_of_a_killed_process_can_be_read(mount: Mount, scratch: Path) -> None:
    path = mount.write("f", random_bytes(8 * MIB))
    file = scratch / "trace-%p.json"
    process = python("-c", KILLED, str(mount.path), path, env={**os.environ, "FST3FS_TRACE": str(file)})
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "read\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    trace = traceplot.load(str(scratch / f"trace-{process.pid}.json"))
    assert trace.bytes >= 3 * 8 * MIB
    assert eventually(lambda: mount.registrations() == 0)


# ------------------------------------------------------------------ what a trace says


def test_a_link_that_holds_back_is_named(serve: Callable[..., Mount], scratch: Path) -> None:
    mount = serve("--latency-us", "1000", "--bandwidth-mbps", "300")
    path = mount.write("f", random_bytes(SIZE))
    file = scratch / "trace.json"
    with ThreeFSFileReader(mount.path, trace=file) as reader:
        read(reader, path)
    done = run("trace-plot", str(written(scratch)), "--output", str(scratch / "p.svg"))
    assert done.returncode == 0, done.stderr
    assert "Storage and link hold it back" in done.stdout
    assert (scratch / "p.svg").read_text().lstrip().startswith("<?xml")


#: More than two runs of 64 MiB, which are planned together.
TENSORS = 6

SLOW_CONSUMER = """
import sys, time
from fastsafetensor_3fs_reader.numpy import safe_open
with safe_open(sys.argv[1], ahead=1 << 18, require="usrbio") as f:
    for _ in f.tensors():
        time.sleep(0.4)
    assert f.info()["idle_ns"] > 0
"""


def test_a_consumer_that_holds_back_is_named(serve: Callable[..., Mount], scratch: Path) -> None:
    mount = serve("--null")
    size = 40 * MIB
    header = {
        f"t{n}": {"dtype": "U8", "shape": [size], "data_offsets": [n * size, (n + 1) * size]} for n in range(TENSORS)
    }
    raw = json.dumps(header).encode()
    mount.write("m.safetensors", struct.pack("<Q", len(raw)) + raw)
    os.truncate(mount.backing / "m.safetensors", 8 + len(raw) + TENSORS * size)
    file = scratch / "trace-%p.json"
    done = python("-c", SLOW_CONSUMER, str(mount.path), env={**os.environ, "FST3FS_TRACE": str(file)})
    _, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    file = scratch / f"trace-{done.pid}.json"
    done = run("trace-plot", str(file), "--json")
    result = parsed("trace-plot", done.stdout)
    assert result["picture"] == str(file.with_suffix(".png"))
    assert file.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert result["bytes"] == TENSORS * size
    assert "consumer" in result["words"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "does not begin"), ("{}", "does not begin"), ("[\n", "no spans"), ("[\nx\n{}\n", "line 2 is no event")],
)
def test_what_is_no_trace_is_refused(scratch: Path, text: str, said: str) -> None:
    file = scratch / "t.json"
    file.write_text(text)
    done = run("trace-plot", str(file))
    assert done.returncode == exits.FAILED
    assert said in done.stderr
    assert str(file) in done.stderr
