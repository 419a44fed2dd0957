# SPDX-License-Identifier: Apache-2.0
"""Runs the grid: every combination once, then every one again, so that ours and the peers' samples are interleaved
and a machine that changes during the sweep shows as spread, not as a difference between them."""

from typing import Callable, Dict, List, Sequence

from args import Options
from grid import Range, Run, shares
from place import Place
from results import FAILED, Row, to_sample
from team import SampleError, run_sample
from ways import Way
from worker import Job

Progress = Callable[[Run], object]


def _batch(place: Place, run: Run, process: int) -> List[Range]:
    """One batch for each process, of files of its own as far as there are enough."""
    count = len(place.small)
    return [place.small[(process * run.batch + n) % count] for n in range(min(run.batch, count))]


def _jobs(place: Place, way: Way, run: Run, dest: str, warmup: int) -> List[Job]:
    if run.op == "headers_batch":
        parts = [_batch(place, run, process) for process in range(run.processes)]
    else:
        parts = shares(place.files, run.processes, way.whole_files)
    return [Job(run, way, tuple(part), place.mount_point, dest, warmup) for part in parts]


def _destination(dest: str, process: int, gpus: int) -> str:
    return f"cuda:{process % gpus}" if dest == "cuda" else dest


class Sweep:
    """The grid's rows, filled as the sweep goes on: what is there is true at any time."""

    def __init__(self, options: Options, place: Place, ways: Sequence[Way], runs: Sequence[Run], gpus: int) -> None:
        self._options, self._place, self._gpus = options, place, gpus
        self._ways: Dict[str, Way] = {way.name: way for way in ways}
        self.rows = [Row(run, self._ways[run.way].peer, options.iterations) for run in runs]

    def _sample(self, row: Row) -> None:
        dest = str(self._options.dest)
        jobs = _jobs(self._place, self._ways[row.run.way], row.run, dest, self._options.warmup)
        jobs = [job._replace(dest=_destination(dest, n, self._gpus)) for n, job in enumerate(jobs)]
        try:
            ready, done = run_sample(jobs)
        except SampleError as e:
            row.error = str(e)
            return
        row.samples.append(to_sample(ready, done))
        row.info = done[0].info

    def run(self, progress: Progress, after: Callable[[], object]) -> None:
        """Measures; ``after`` each sample. A combination that fails once is left alone from then on."""
        for _ in range(self._options.iterations):
            for row in self.rows:
                if row.status != FAILED:
                    self._sample(row)
                progress(row.run)
                after()

    def measured(self) -> List[Row]:
        """The rows that there is something to say about."""
        return [row for row in self.rows if row.samples or row.error]
