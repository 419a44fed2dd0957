# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/gpu.md, as ratios from one run: measure.py [--rounds 3] [--output figures.json]

Every row is the median of a few rounds; what a row is compared with is measured in the same rounds, in turn with it.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import safetensors
import torch
from gpu_support import GIB, KIB, MIB, Place, have_usrbiod, random_file, served
from safetensors.torch import load_file

from fastsafetensor_3fs_reader import ThreeFSFileReader
from fastsafetensor_3fs_reader.torch import safe_open

FILES = 4
BUFFER = 64 * MIB
Row = Dict[str, object]


def gbps(size: int, run: Callable[[], None]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return size / (time.perf_counter() - start) / 1e9


def in_turn(rounds: int, size: int, runs: Dict[str, Callable[[], None]]) -> Dict[str, List[float]]:
    """GB/s of each, after one round that does not count (page-locking, the first touch of everything)."""
    samples: Dict[str, List[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            speed = gbps(size, run)
            if number > 0:
                samples[name].append(speed)
    return samples


def bare_copies(target: torch.Tensor, piece: int) -> Callable[[], None]:
    """What the link gives: pieces out of page-locked memory, one after the other, and nothing else."""
    pinned = torch.empty(BUFFER, dtype=torch.uint8).pin_memory()
    slots = BUFFER // piece

    def run() -> None:
        for _ in range(FILES):
            for number, start in enumerate(range(0, target.numel(), piece)):
                end = min(start + piece, target.numel())
                at = number % slots * piece
                target[start:end].copy_(pinned[at : at + end - start], non_blocking=True)
            torch.cuda.synchronize()

    return run


def reads(
    reader: ThreeFSFileReader, paths: List[str], target: torch.Tensor, pipelined: bool = True
) -> Callable[[], None]:
    def run() -> None:
        for path in paths:
            got = reader.read_chunked(path, target.data_ptr(), 0, target.numel(), pipelined=pipelined)
            assert got == target.numel(), f"{got} bytes of {target.numel()}"

    return run


def row(name: str, samples: Dict[str, List[float]], ours: str, other: str, target: str) -> Row:
    speeds = {key: statistics.median(values) for key, values in samples.items()}
    return {
        "row": name,
        "ratio": round(speeds[ours] / speeds[other], 3),
        "target": target,
        "GB/s": {key: [round(value, 2) for value in values] for key, values in samples.items()},
    }


def null_row(rounds: int) -> List[Row]:
    if not have_usrbiod():
        return [{"row": "usrbiod --null against bare copies", "ratio": "NOT MEASURED: no usrbiod", "target": ">= 0.95"}]
    size = 4 * GIB
    with served("--null") as place:
        paths = []
        for number in range(FILES):
            with (place.backing / f"null-{number}").open("wb") as file:
                file.truncate(size)
            paths.append(str(place.path / f"null-{number}"))
        target = torch.empty(size, dtype=torch.uint8, device="cuda:0")
        with place.reader(buffer_size=BUFFER) as reader:
            piece = int(reader.info()["piece_size"])
            runs = {"pipelined": reads(reader, paths, target), "bare copies": bare_copies(target, piece)}
            samples = in_turn(rounds, FILES * size, runs)
            info = reader.info()
    name = f"usrbiod --null, {FILES} x 4 GiB, pieces of {piece >> 10} KiB, against bare copies"
    return [
        row(name, samples, "pipelined", "bare copies", ">= 0.95"),
        {"row": "page-locked", "ratio": info["page_locked"], "target": "True"},
    ]


def safetensors_files(place: Place, size: int) -> List[str]:
    """Files that safetensors.torch can load: one tensor of random bytes each."""
    names = []
    for number in range(FILES):
        header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
        header += b" " * (-len(header) % 8)
        name = f"model-{number}.safetensors"
        body = place.backing / "body"
        random_file(body, size)
        with (place.backing / name).open("wb") as file, body.open("rb") as source:
            file.write(len(header).to_bytes(8, "little") + header)
            shutil.copyfileobj(source, file, 16 * MIB)
        body.unlink()
        names.append(name)
    return names


def real_rows(rounds: int) -> List[Row]:
    shm = os.statvfs("/dev/shm")
    size = min(GIB, shm.f_bavail * shm.f_frsize // (2 * FILES))
    with served() as place:
        names = safetensors_files(place, size)
        total = (place.backing / names[0]).stat().st_size
        paths = [str(place.path / name) for name in names]
        target = torch.empty(total, dtype=torch.uint8, device="cuda:0")

        def load(folder: Path) -> Callable[[], None]:
            return lambda: [load_file(folder / name, device="cuda:0") for name in names] and None

        with place.reader(buffer_size=BUFFER) as reader:
            runs = {
                "pipelined": reads(reader, paths, target),
                "in turn": reads(reader, paths, target, pipelined=False),
                "load_file, same mount": load(place.path),
                "load_file, tmpfs": load(place.backing),
            }
            samples = in_turn(rounds, FILES * total, runs)
        want = np.fromfile(place.backing / names[-1], np.uint8)
        assert np.array_equal(target.cpu().numpy(), want), "bytes differ"
    way = "usrbiod" if place.mounted else "the operating system (NO usrbiod)"
    name = f"real bytes from tmpfs through {way}, {FILES} x {total / GIB:.2f} GiB"
    rows = []
    for other, limit in (("in turn", ">= 1.5"), ("load_file, same mount", "> 1"), ("load_file, tmpfs", "> 1")):
        pair = {key: samples[key] for key in ("pipelined", other)}
        rows.append(row(f"{name}, against {other}", pair, "pipelined", other, limit))
    return rows


def tensor_file(path: Path, size: int) -> None:
    """Matrices of 8 MiB among scales of a few KiB, as shards of mixture-of-experts models have them."""
    header: Dict[str, object] = {}
    at = number = 0
    while at < size:
        for kind, shape in (("weight", [2048, 4096]), ("weight_scale_inv", [16, 32])):
            width, dtype = (1, "F8_E4M3") if kind == "weight" else (4, "F32")
            length = shape[0] * shape[1] * width
            header[f"{path.stem}.experts.{number}.{kind}"] = {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [at, at + length],
            }
            at += length
        number += 1
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    body = path.with_suffix(".body")
    random_file(body, at)
    with path.open("wb") as file, body.open("rb") as source:
        file.write(len(raw).to_bytes(8, "little") + raw)
        shutil.copyfileobj(source, file, 16 * MIB)
    body.unlink()


def with_safetensors(paths: List[Path]) -> None:
    for path in paths:
        with safetensors.safe_open(str(path), framework="pt", device="cuda:0") as f:
            for name in f.keys():  # noqa: SIM118
                f.get_tensor(name)


def with_ours(folder: Path) -> None:
    with safe_open(folder, device="cuda:0") as f:
        for _ in f.tensors():
            pass


def with_instanttensor(paths: List[Path]) -> None:
    import instanttensor  # noqa: PLC0415 - where there is one

    with instanttensor.safe_open([str(path) for path in paths], framework="pt", device="cuda:0") as f:
        for _ in f.tensors():
            pass


def tensor_rows(rounds: int) -> List[Row]:
    """safe_open to the GPU, beside others on the same mount, after the same tensors were seen to come out."""
    shm = os.statvfs("/dev/shm")
    size = min(GIB, shm.f_bavail * shm.f_frsize // (2 * FILES))
    with served() as place:
        for number in range(FILES):
            tensor_file(place.backing / f"model-{number}.safetensors", size)
        paths = sorted(place.path.glob("*.safetensors"))
        total = sum(path.stat().st_size for path in paths)
        with safe_open(place.path, device="cuda:0") as f:
            for name, tensor in f.tensors():
                path = place.backing / f"{name.split('.')[0]}.safetensors"
                with safetensors.safe_open(str(path), framework="pt") as want:
                    assert torch.equal(tensor.cpu().view(torch.uint8), want.get_tensor(name).view(torch.uint8)), name
            transport = f.info()["transport"]
        runs = {"safe_open": lambda: with_ours(place.path), "safetensors": lambda: with_safetensors(paths)}
        if find_spec("instanttensor") is not None:
            runs["InstantTensor"] = lambda: with_instanttensor(paths)
        samples = in_turn(rounds, total, runs)
    name = f"safe_open(..., device='cuda:0') over {transport}, {total / GIB:.2f} GiB of experts"
    rows = []
    for other in list(runs)[1:]:
        pair = {key: samples[key] for key in ("safe_open", other)}
        rows.append(row(f"{name}, against {other}", pair, "safe_open", other, "> 1"))
    return rows


def status_kib(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


def memory_rows() -> List[Row]:
    size = 512 * MIB
    with served() as place:
        random_file(place.backing / "data.bin", size)
        target = torch.empty(size, dtype=torch.uint8, device="cuda:0")
        torch.cuda.synchronize()
        free = torch.cuda.mem_get_info()[0]
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before = status_kib("VmRSS")
        with place.reader(buffer_size=BUFFER) as reader:
            reads(reader, [str(place.path / "data.bin")], target)()
            device = free - torch.cuda.mem_get_info()[0]
        host = (status_kib("VmHWM") - before) * KIB - BUFFER
    return [
        {"row": "host memory beyond buffer_size, MiB", "ratio": round(host / MIB, 1), "target": "< 64"},
        {"row": "device memory beyond the destination, MiB", "ratio": round(device / MIB, 1), "target": "0"},
    ]


def holds(found: object, target: str) -> bool:
    if target == "True" or isinstance(found, str):
        return str(found) == target
    value = float(str(found))
    operator, _, limit = target.rpartition(" ")
    tests: Dict[str, Callable[[float], bool]] = {
        ">=": lambda bound: value >= bound,
        ">": lambda bound: value > bound,
        "<": lambda bound: value < bound,
        "": lambda bound: value <= bound,
    }
    return tests[operator](float(limit))


def arguments() -> Tuple[int, str]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="")
    parsed = parser.parse_args()
    return parsed.rounds, parsed.output


def main() -> None:
    rounds, output = arguments()
    # Memory first: later rows leave caches of PyTorch's behind.
    rows = memory_rows() + null_row(rounds) + real_rows(rounds) + tensor_rows(rounds)
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, CUDA {torch.version.cuda}\n")
    print("| row | measured | target | met | GB/s of each round |\n|---|---|---|---|---|")
    for line in rows:
        line["met"] = holds(line["ratio"], str(line["target"]))
        met = "yes" if line["met"] else "NO"
        print(f"| {line['row']} | {line['ratio']} | {line['target']} | {met} | {line.get('GB/s', '')} |")
    if output:
        Path(output).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
