# SPDX-License-Identifier: Apache-2.0
"""The demo's steps: a checkpoint, a mount, a reader, a comparison, a table."""

import json
import os
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from typing import List, NamedTuple, NoReturn, Optional, Tuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ..backend import create_reader, extract_mount_point, get_backend
from ..interface import FileReaderInterface
from ..settings import DEFAULT_BUFFER_SIZE
from ..usrbiod import Usrbiod
from .checkpoint import GIB, find_shards, write_checkpoint
from .compare import compare_shard

MIB = 1 << 20
#: One call of the reader, so that the progress bar moves inside a large shard.
STEP = 256 * MIB
SHM = "/dev/shm"


class Place(NamedTuple):
    """A checkpoint, as the reader sees it and as safetensors does."""

    folder: str
    reference: str


class Row(NamedTuple):
    """What the table says of one shard."""

    shard: str
    nbytes: int
    seconds: float
    transport: str
    identical: int
    wrong: List[str]


# ------------------------------------------------------------------ scratch space


def _scratch_root(need: int) -> str:
    """Where there is room for the checkpoint: memory if there is plenty, so that no disk is in the way."""
    if shutil.disk_usage(SHM).free > 2 * need and _available_memory() > 4 * need:
        return SHM
    root = tempfile.gettempdir()
    free = shutil.disk_usage(root).free
    if free < 1.1 * need:
        raise OSError(f"{root}: the demo needs {need / GIB:.1f} GiB there, and {free / GIB:.1f} are free")
    return root


def _available_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _buffer_size() -> int:
    """The reader's default, or less where /dev/shm is small, as in containers."""
    free = shutil.disk_usage(SHM).free
    return DEFAULT_BUFFER_SIZE if free >= 4 * DEFAULT_BUFFER_SIZE else max(MIB, free // 4 // MIB * MIB)


# ------------------------------------------------------------------ where the checkpoint is


def _serve(stack: ExitStack, backing: str) -> Place:
    """Serves a folder as a 3FS mount until the stack unwinds."""
    return Place(stack.enter_context(Usrbiod(backing)).mount_point, backing)


def _own_checkpoint(stack: ExitStack, size: int, console: Console) -> Place:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fst3fs-demo-", dir=_scratch_root(size)))
    console.print(f"Writing a checkpoint of about {size / GIB:.1f} GiB into {folder}")
    with tqdm(total=size, unit="B", unit_scale=True, desc="write", leave=False, disable=None) as bar:
        write_checkpoint(folder, size, bar.update)
    return _serve(stack, folder)


def _place(stack: ExitStack, model: Optional[str], mount: Optional[str], size: int, console: Console) -> Place:
    if mount is not None:
        return Place(mount, mount)
    if model is not None:
        return _serve(stack, os.path.abspath(model))
    return _own_checkpoint(stack, size, console)


# ------------------------------------------------------------------ reading


def _open_reader(folder: str) -> FileReaderInterface:
    mount_point = extract_mount_point(folder)
    if not mount_point:
        raise OSError(f"{folder}: not on a 3FS mount")
    # The Python backend may have nothing to speak USRBIO with. The table says how the bytes came.
    require = "usrbio" if get_backend() == "c" else ""
    return create_reader(mount_point=mount_point, buffer_size=_buffer_size(), require=require)


def _read(
    reader: FileReaderInterface, path: str, offset: int, data: np.ndarray, bar: "tqdm[NoReturn]"
) -> Tuple[float, str]:
    """Fills ``data`` from a file; seconds it took, and the transport that the bytes came through."""
    before = reader.info()
    address, seconds = data.ctypes.data, 0.0
    for at in range(0, data.nbytes, STEP):
        size = min(STEP, data.nbytes - at)
        start = time.perf_counter()
        got = reader.read_chunked(path, address + at, offset + at, size)
        seconds += time.perf_counter() - start
        if got != size:
            raise OSError(f"{path}: {got} of {size} bytes at {offset + at}: the file became shorter")
        bar.update(size)
    now = reader.info()
    through_os = now["bytes_posix"] != before["bytes_posix"]
    return seconds, "posix" if through_os else str(now["transport"])


def _read_all(reader: FileReaderInterface, place: Place) -> List[Row]:
    names = find_shards(place.folder)
    paths = [os.path.join(place.folder, name) for name in names]
    headers = reader.read_headers_batch(paths)
    sizes = {path: size - length for path, (_, length, size) in headers.items()}
    # One shard at a time, in memory that is used again: a checkpoint may be larger than what is free.
    memory = np.empty(max(sizes.values()), np.uint8)
    rows = []
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="read", leave=False, disable=None) as bar:
        for name, path in zip(names, paths):
            json_text, length, _ = headers[path]
            data = memory[: sizes[path]]
            # So that bytes which never arrived cannot pass for those of the shard before.
            data.fill(0xA5)
            seconds, transport = _read(reader, path, length, data, bar)
            identical, wrong = compare_shard(os.path.join(place.reference, name), json_text, data)
            rows.append(Row(name, data.nbytes, seconds, transport, identical, wrong))
    return rows


# ------------------------------------------------------------------ the report


def _speed(nbytes: int, seconds: float) -> str:
    return f"{nbytes / seconds / 1e9:.2f}" if seconds else "-"


def _print_table(console: Console, rows: List[Row]) -> None:
    table = Table(title="Read into host memory", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("shard", no_wrap=True)
    for heading in ("bytes", "seconds", "GB/s"):
        table.add_column(heading, justify="right")
    table.add_column("transport")
    for row in rows:
        table.add_row(
            row.shard, f"{row.nbytes:,}", f"{row.seconds:.3f}", _speed(row.nbytes, row.seconds), row.transport
        )
    nbytes, seconds = sum(r.nbytes for r in rows), sum(r.seconds for r in rows)
    table.add_section()
    table.add_row("all", f"{nbytes:,}", f"{seconds:.3f}", _speed(nbytes, seconds), "")
    console.print(table)


def _print_verdict(console: Console, rows: List[Row]) -> None:
    wrong = [f"{row.shard}: {name}" for row in rows for name in row.wrong]
    identical = sum(row.identical for row in rows)
    for line in wrong:
        console.print(f"DIFFERENT {line}", markup=False)
    if wrong:
        console.print(f"{len(wrong)} tensors differ, {identical} tensors identical")
    else:
        console.print(f"{identical} tensors identical")


def _report(rows: List[Row], as_json: bool) -> None:
    if as_json:
        shards = [row._asdict() for row in rows]
        print(json.dumps({"shards": shards, "identical": sum(r.identical for r in rows)}, indent=2))
        return
    console = Console(highlight=False)
    _print_table(console, rows)
    _print_verdict(console, rows)


def _terminate(signum: int, frame: object) -> None:
    """SIGTERM ends the demo as Ctrl-C does: by an exception, so that everything is cleared away."""
    raise SystemExit(128 + signum)


def run(model: Optional[str], mount: Optional[str], size_gb: float, as_json: bool) -> bool:
    """Runs the demo; was every tensor identical? What it does meanwhile it says on stderr."""
    signal.signal(signal.SIGTERM, _terminate)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    with ExitStack() as stack:
        place = _place(stack, model, mount, int(size_gb * 1e9), notes)
        reader = stack.enter_context(_open_reader(place.folder))
        info = reader.info()
        notes.print(f"Mount {reader.mount_point}: {info['transport']}, client {info['client']}")
        rows = _read_all(reader, place)
    _report(rows, as_json)
    return not any(row.wrong for row in rows)
