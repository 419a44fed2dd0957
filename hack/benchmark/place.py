# SPDX-License-Identifier: Apache-2.0
"""Where the files are: on a real mount, or on one that is served for the sweep."""

import glob
import hashlib
import os
import shutil
from contextlib import ExitStack
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional

from args import Options
from grid import Range, Run
from serve import KIB, MIB, SHM, Served, generate, scratch, serve
from team import SampleError, run_verification
from ways import DEFAULT_BUFFER, Way
from worker import Job

from fastsafetensor_3fs_reader import extract_mount_point
from fastsafetensor_3fs_reader.headers import read_header

SMALL = "headers"  # folder of generated files for headers alone
SMALL_HEADER = 60 * KIB
SPECIMEN = 24 * MIB  # that shows what a way delivers when the files of the sweep hold no bytes
BLOCK = 16 * MIB


class Place(NamedTuple):
    """The files of a sweep, and how they are reached."""

    mount_point: str
    files: List[Range]  # tensor data, without headers
    small: List[Range]  # files whose headers are read; the same where we make none
    specimen: Range  # a file that each way delivers once to show that it does
    specimen_mount: str
    served: Optional[Served]

    @property
    def total(self) -> int:
        return sum(f.length for f in self.files)

    def describe(self) -> str:
        """What is measured; what is simulated is said in these words in every output."""
        size = f"{len(self.files)} files, {self.total / 1e9:.2f} GB"
        if self.served is None:
            return f"{size} on {self.mount_point or 'no 3FS'}"
        return f"SIMULATED 3FS: usrbiod on this machine, {self.served.link.describe()}; {size}"

    def facts(self) -> Dict[str, object]:
        """Columns of every row."""
        link = self.served.link._asdict() if self.served else {}
        names = ("latency_us", "bandwidth_mbps", "job_mbps", "jitter_us", "meta_latency_us", "chunk_kb", "null")
        return {
            "mount_point": self.mount_point,
            "files": len(self.files),
            "total_bytes": self.total,
            "simulated": int(self.served is not None),
            **{f"link_{name}": int(link[name]) if link else "" for name in names},
        }


# ------------------------------------------------------------------ files


def _data_of(path: str) -> Range:
    """Where the tensors of a file are. ValueError for one that is no safetensors file."""
    with open(path, "rb", buffering=0) as file:
        fd = file.fileno()
        _, begin, size = read_header(path, os.fstat(fd).st_size, lambda at, n: os.pread(fd, n, at))
    return Range(path, begin, size - begin)


def _find(folder: str, pattern: Optional[str]) -> List[Range]:
    pattern = pattern or os.path.join(glob.escape(folder), "*.safetensors")
    files = [_data_of(path) for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]
    files = [file for file in files if file.length]
    if not files:
        raise FileNotFoundError(f"{pattern}: no file with tensors matches")
    return files


def _generated(stack: ExitStack, options: Options, progress: Callable[[int], object]) -> str:
    """A folder with files in it, until the stack unwinds."""
    root = options.serve or SHM
    free = shutil.disk_usage(root).free
    if not options.link.null and free < 1.2 * options.generate:
        raise OSError(f"{root}: {options.generate / 1e9:.1f} GB of files do not fit, {free / 1e9:.1f} GB are free")
    folder = stack.enter_context(scratch(root))
    # One for each process, for the ways that read whole files.
    count = max(options.processes)
    generate(folder, count, options.generate // count, sparse=options.link.null, progress=progress)
    if "headers_batch" in options.ops:
        os.mkdir(os.path.join(folder, SMALL))
        small = max(options.batches) * max(options.processes)
        generate(os.path.join(folder, SMALL), small, SMALL_HEADER + KIB, header=SMALL_HEADER)
    return folder


# ------------------------------------------------------------------ the mount


def _specimen_mount(stack: ExitStack) -> Served:
    """A mount that moves bytes, beside one that does not."""
    folder = stack.enter_context(scratch())
    generate(folder, 1, SPECIMEN)
    return stack.enter_context(serve(folder))


def _smallest(files: Iterable[Range]) -> Range:
    return min(files, key=lambda f: f.length)


def open_place(stack: ExitStack, options: Options, progress: Callable[[int], object]) -> Place:
    """Finds the files, or makes and serves them until the stack unwinds."""
    if options.serve is None:
        files = _find(str(options.mount_point), options.file_pattern)
        mount = extract_mount_point(files[0].path)
        return Place(mount, files, files, _smallest(files), mount, None)
    backing = _generated(stack, options, progress) if options.generate else options.serve
    served = stack.enter_context(serve(os.path.abspath(backing), options.link))
    pattern = options.file_pattern and os.path.join(glob.escape(served.mount_point), options.file_pattern)
    files = _find(served.mount_point, pattern)
    small = os.path.join(served.mount_point, SMALL)
    small_files = _find(small, None) if options.generate and os.path.isdir(small) else files
    if not options.link.null:
        return Place(served.mount_point, files, small_files, _smallest(files), served.mount_point, served)
    real = _specimen_mount(stack)
    return Place(served.mount_point, files, small_files, _find(real.mount_point, None)[0], real.mount_point, served)


# ------------------------------------------------------------------ the same bytes


def _digest(data: Range) -> str:
    """SHA-256 of a part of a file, read without any of the ways."""
    digest = hashlib.sha256()
    with open(data.path, "rb", buffering=0) as file:
        for at in range(data.offset, data.offset + data.length, BLOCK):
            digest.update(os.pread(file.fileno(), min(BLOCK, data.offset + data.length - at), at))
    return digest.hexdigest()


def verify(place: Place, ways: Iterable[Way], dest: str) -> Dict[str, str]:
    """Has each way deliver the same file once: "same bytes", or what is wrong."""
    where = {"none": "host", "cuda": "cuda:0"}.get(dest, dest)
    expected, verdicts = _digest(place.specimen), {}
    for way in ways:
        run = Run("read_chunked", way.name, 1, DEFAULT_BUFFER // 4, 0)
        job = Job(run, way, (place.specimen,), place.specimen_mount, where, 0)
        try:
            verdicts[way.name] = "same bytes" if run_verification(job) == expected else "OTHER BYTES"
        except SampleError as e:
            verdicts[way.name] = f"not verified: {e}"
    return verdicts
