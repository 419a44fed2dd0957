# SPDX-License-Identifier: Apache-2.0
"""The results: one row for each combination, with every sample, and the CSV file of them."""

import csv
import os
import statistics
from dataclasses import dataclass, field
from typing import Callable, Dict, List, NamedTuple, Sequence

from grid import Run
from serve import MIB
from worker import Done, Ready

FAILED, UNFINISHED, OK = "failed", "unfinished", "ok"


class Sample(NamedTuple):
    """One measurement of all processes together."""

    seconds: float  # from the common start to the last one's end
    nbytes: int
    files: int
    cpu_s: float
    make_s: float  # the slowest one's time to make its reader
    resident: float  # part of the files that was in the kernel's cache when the clock started
    slowest: float  # throughput of the slowest process over the fastest one's

    @property
    def gb_per_s(self) -> float:
        return self.nbytes / self.seconds / 1e9

    @property
    def files_per_s(self) -> float:
        return self.files / self.seconds


def to_sample(ready: Sequence[Ready], done: Sequence[Done]) -> Sample:
    busy = [d for d in done if d.files]
    speeds = [d.nbytes / max(d.end - d.start, 1e-9) for d in busy]
    return Sample(
        seconds=max(d.end for d in done) - min(d.start for d in done),
        nbytes=sum(d.nbytes for d in done),
        files=sum(d.files for d in done),
        cpu_s=sum(d.cpu_s for d in done),
        make_s=max(r.make_s for r in ready),
        resident=max(r.resident for r in ready),
        slowest=min(speeds) / max(speeds) if speeds and max(speeds) else 1.0,
    )


@dataclass
class Row:
    """What is known of one combination."""

    run: Run
    peer: bool
    wanted: int
    samples: List[Sample] = field(default_factory=list)
    info: Dict[str, object] = field(default_factory=dict)
    error: str = ""
    verified: str = ""

    @property
    def status(self) -> str:
        if self.error:
            return FAILED
        return OK if len(self.samples) == self.wanted else UNFINISHED

    @property
    def headers(self) -> bool:
        return self.run.op == "headers_batch"

    @property
    def speeds(self) -> List[float]:
        """What is compared: GB/s, or files/s of headers."""
        return [s.files_per_s if self.headers else s.gb_per_s for s in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.speeds) if self.samples else 0.0

    @property
    def cpu_s_per_gb(self) -> float:
        nbytes = sum(s.nbytes for s in self.samples)
        return sum(s.cpu_s for s in self.samples) / (nbytes / 1e9) if nbytes else 0.0


# ------------------------------------------------------------------ CSV


def _each(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def _mean(row: Row, value: Callable[[Sample], float]) -> float:
    return statistics.fmean(map(value, row.samples)) if row.samples else 0.0


def _peak(row: Row, value: Callable[[Sample], float]) -> float:
    return max(map(value, row.samples), default=0.0)


def _speed(row: Row, number: float) -> str:
    return f"{number:.4f}" if row.samples else ""


Column = Callable[[Row], object]

#: Name and content of each column that differs between rows; those of the machine follow.
COLUMNS: Dict[str, Column] = {
    "op": lambda r: r.run.op,
    "way": lambda r: r.run.way,
    "peer": lambda r: int(r.peer),
    "processes": lambda r: r.run.processes,
    "buffer_mb": lambda r: f"{r.run.buffer / MIB:g}" if r.run.buffer else "",
    "chunk_mb": lambda r: f"{r.run.chunk / MIB:g}" if r.run.buffer else "",
    "batch": lambda r: r.run.batch or "",
    "threads": lambda r: r.run.threads or "",
    "status": lambda r: r.status,
    "error": lambda r: r.error,
    "verified": lambda r: r.verified,
    "samples": lambda r: len(r.samples),
    "bytes": lambda r: r.samples[0].nbytes if r.samples else "",
    "seconds": lambda r: _each([s.seconds for s in r.samples], 6),
    "gb_per_s": lambda r: _each([s.gb_per_s for s in r.samples], 4),
    "gb_per_s_average": lambda r: _speed(r, _mean(r, lambda s: s.gb_per_s)),
    "gb_per_s_peak": lambda r: _speed(r, _peak(r, lambda s: s.gb_per_s)),
    "gb_per_s_median": lambda r: _speed(r, statistics.median([s.gb_per_s for s in r.samples] or [0.0])),
    "files_per_s_median": lambda r: _speed(r, r.median) if r.headers else "",
    "slowest_process": lambda r: _speed(r, min([s.slowest for s in r.samples] or [0.0])),
    "cpu_s_per_gb": lambda r: f"{r.cpu_s_per_gb:.5f}" if r.samples else "",
    "make_reader_s": lambda r: _each([s.make_s for s in r.samples], 4),
    "transport": lambda r: r.info.get("transport", ""),
    "client": lambda r: r.info.get("client", ""),
    "devices": lambda r: r.info.get("devices", ""),
    "page_locked": lambda r: r.info.get("page_locked", ""),
    "piece_bytes": lambda r: r.info.get("piece_size", ""),
    "window": lambda r: r.info.get("window", ""),
    "why_not": lambda r: r.info.get("why_not", ""),
    "cached_at_start": lambda r: f"{_peak(r, lambda s: s.resident):.3f}" if r.samples else "",
}


def write_csv(path: str, rows: Sequence[Row], common: Dict[str, object]) -> None:
    """Writes all rows, or leaves the file as it was."""
    partial = f"{path}.{os.getpid()}"
    try:
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *common])
            for row in rows:
                writer.writerow([*(column(row) for column in COLUMNS.values()), *common.values()])
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
