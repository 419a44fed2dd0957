# SPDX-License-Identifier: Apache-2.0
"""Every way to read with each of its calls failing in turn: inject_cases.py PLACES.

PLACES is JSON: the injector, the fake driver, the drop-in, a mount, the folder behind it, and whether every call is
meant or the first from each place in the code. test_inject.py runs it; what is wrong is printed, a line each.
"""

import ctypes
import gc
import json
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from gpu_fake_cases import FakeCuda
from injector import Injector, Pass
from support import KIB, Target, random_bytes, safetensors_file

from fastsafetensor_3fs_reader import ThreeFSFileReader, _core
from fastsafetensor_3fs_reader.numpy import safe_open

#: A read that sees nothing come gives up in this time, and long before it counts as a hang.
READ_TIMEOUT = 5.0
SIZE = 300 * KIB + 17
BUFFER = 256 * KIB


class Places(NamedTuple):
    injector: str
    cuda: str
    dropin: str
    mount: str
    backing: str
    every_call: bool


# ------------------------------------------------------------------ what is done


#: Keywords of a reader.
Way = Dict[str, Any]

WAYS: Dict[str, Way] = {
    "usrbio": {"usrbio": "builtin", "require": "usrbio"},
    "sdk": {"usrbio": "sdk", "require": "usrbio"},
    "posix": {"mount_point": "", "usrbio": "builtin"},
}


class Case(ABC):
    """A scenario (injector.py) over the files of a mount."""

    #: The reader is there before ``run``, or is made by it.
    opened = True

    def __init__(self, places: Places, way: Way) -> None:
        self.places, self.way = places, way
        self.mount = places.mount
        self.data = random_bytes(SIZE)
        self.path = self.file("data", self.data)
        self.reader: Optional[ThreeFSFileReader] = None

    def file(self, name: str, data: bytes) -> str:
        (Path(self.places.backing) / name).write_bytes(data)
        return str(Path(self.places.mount) / name)

    def make(self) -> ThreeFSFileReader:
        keywords = {"mount_point": self.places.mount, "buffer_size": BUFFER, "timeout": READ_TIMEOUT}
        return ThreeFSFileReader(**{**keywords, **self.way})

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        pass

    def before(self) -> None:
        if self.opened:
            self.reader = self.make()

    @abstractmethod
    def run(self) -> None: ...

    def look(self) -> None:  # noqa: B027 - some have nothing to show
        pass

    def again(self) -> None:
        if self.reader is None:
            self.reader = self.make()
        target = Target(SIZE)
        assert self.reader.read_chunked(self.path, target.address, 0, SIZE) == SIZE
        target.check(self.data)

    def after(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.reader = None


class Open(Case):
    opened = False

    def run(self) -> None:
        self.reader = self.make()


class Read(Case):
    def before(self) -> None:
        super().before()
        self.target = Target(SIZE)

    def run(self) -> None:
        assert self.reader is not None
        assert self.reader.read_chunked(self.path, self.target.address, 0, SIZE) == SIZE

    def look(self) -> None:
        self.target.check(self.data)


class ReadMany(Case):
    def before(self) -> None:
        super().before()
        self.others = [self.file(f"data-{i}", random_bytes(SIZE, i + 2)) for i in range(3)]
        self.targets = [Target(SIZE) for _ in self.others]

    def requests(self) -> List[Tuple[str, int, int, int]]:
        return [(path, target.address, 0, SIZE) for path, target in zip(self.others, self.targets)]

    def run(self) -> None:
        assert self.reader is not None
        assert self.reader.read_many(self.requests()) == [SIZE] * 3

    def look(self) -> None:
        for i, target in enumerate(self.targets):
            target.check(random_bytes(SIZE, i + 2))


class Background(ReadMany):
    def run(self) -> None:
        assert self.reader is not None
        batch = self.reader.start_many(self.requests())
        assert [batch.wait(i) for i in range(3)] == [SIZE] * 3
        batch.finish()


class Headers(Case):
    def before(self) -> None:
        super().before()
        self.files = [self.file(f"h-{i}.safetensors", safetensors_file(bytes(i))) for i in range(3)]

    def run(self) -> None:
        assert self.reader is not None
        self.headers = self.reader.read_headers_batch(self.files, num_threads=2)

    def look(self) -> None:
        assert [self.headers[path][2] - self.headers[path][1] for path in self.files] == [0, 1, 2]


class Alloc(Case):
    def run(self) -> None:
        assert self.reader is not None
        memory = self.reader.alloc(SIZE)
        assert self.reader.read_chunked(self.path, memory.address, 0, SIZE) == SIZE
        self.got = bytes(memory)

    def look(self) -> None:
        assert self.got == self.data


class Info(Case):
    def run(self) -> None:
        assert self.reader is not None
        self.said = self.reader.info(), self.reader.stats(), self.reader.has_fd(self.path)

    def look(self) -> None:
        assert self.said[0]["buffer_size"] == BUFFER


class Close(Case):
    """Of a reader that has files open, and memory of ``alloc``."""

    def before(self) -> None:
        super().before()
        self.again()

    def run(self) -> None:
        assert self.reader is not None
        memory = self.reader.alloc(SIZE)
        del memory
        self.reader.close()
        self.reader = None
        gc.collect()


class Tensors(Case):
    """safe_open: the checkpoint, its stream, one tensor and rows of it."""

    opened = False
    SHAPE = (60, 1024)

    def before(self) -> None:
        self.folder = os.path.dirname(self.file("m/model.safetensors", self._shard()))

    def _shard(self) -> bytes:
        (Path(self.places.backing) / "m").mkdir(exist_ok=True)
        header = {"dtype": "U8", "shape": self.SHAPE, "data_offsets": [0, 60 * KIB]}
        second = {"dtype": "U8", "shape": self.SHAPE, "data_offsets": [60 * KIB, 120 * KIB]}
        raw = json.dumps({"__metadata__": {"of": "a test"}, "a": header, "b": second}).encode()
        return len(raw).to_bytes(8, "little") + raw + random_bytes(120 * KIB)

    def run(self) -> None:
        keywords = {"mount_point": self.places.mount, **self.way}
        with safe_open(self.folder, buffer_size=BUFFER, timeout=READ_TIMEOUT, **keywords) as opened:
            self.got = {name: tensor.tobytes() for name, tensor in opened.tensors()}
            self.rows = opened.get_slice("b")[10:20].tobytes(), opened.get_tensor("a").tobytes()
            self.metadata = opened.metadata()

    def look(self) -> None:
        data = random_bytes(120 * KIB)
        assert self.got == {"a": data[: 60 * KIB], "b": data[60 * KIB :]}
        assert self.rows == (data[70 * KIB : 80 * KIB], data[: 60 * KIB])
        assert self.metadata == {"of": "a test"}


class Share(Case):
    """What a rank of several would read, of a checkpoint."""

    def before(self) -> None:
        super().before()
        self.files = [self.file("s.safetensors", safetensors_file(bytes(9)))]

    def run(self) -> None:
        assert self.reader is not None
        checkpoint = self.reader.core.checkpoint(self.files)
        self.said = checkpoint.files(), checkpoint.names(), checkpoint.tensor(0), checkpoint.metadata(0)
        assert (checkpoint.find("t"), checkpoint.find("u"), checkpoint.nbytes(None)) == (0, None, 9)
        share = _core.Share(checkpoint, None, 2, 64, 1)
        self.requests = share.requests(0, 0, 1 << 20), share.copies(0), share.window(0)

    def look(self) -> None:
        assert self.said[:2] == (self.files, ["t"])
        assert self.requests[0][0][0] == self.files[0]


class Gpu(Case):
    """Memory of the fake driver."""

    def prepare(self) -> None:
        self.cuda = FakeCuda(self.places.cuda, 1)
        self.address = self.cuda.alloc(SIZE)
        self.cuda.fill(self.address, bytes(SIZE))

    def run(self) -> None:
        assert self.reader is not None
        assert self.reader.read_chunked(self.path, self.address, 0, SIZE) == SIZE

    def look(self) -> None:
        assert self.cuda.get(self.address, SIZE) == self.data

    def again(self) -> None:
        super().again()
        self.run()
        self.look()

    def after(self) -> None:
        super().after()
        self.cuda.free(self.address)
        self.cuda.close()


class MountPoint(Case):
    opened = False

    def run(self) -> None:
        self.got = _core.mount_point(self.path)

    def look(self) -> None:
        assert self.got == self.places.mount


class Trace(Read):
    def make(self) -> ThreeFSFileReader:
        self.way = {**self.way, "trace": f"{self.places.backing}/trace"}
        return super().make()

    opened = False

    def run(self) -> None:
        self.reader = self.make()
        super().run()
        self.reader.close()
        self.reader = None


CASES: Tuple[Callable[[Places, Way], Case], ...] = (
    Open,
    Read,
    ReadMany,
    Background,
    Headers,
    Alloc,
    Info,
    Close,
    Tensors,
    Share,
    Gpu,
    MountPoint,
    Trace,
)

# ------------------------------------------------------------------ all of it


def main(places: Places) -> None:
    injector = Injector(places.injector)
    ctypes.CDLL(places.dropin)
    for library in ("_core.abi3.so", os.path.basename(places.dropin)):
        injector.hook(library)
    gc.collect()
    gc.freeze()
    turns = Pass(injector, places.every_call)
    for name, way in WAYS.items():
        for case in CASES:
            for wrong in turns.run(f"{case.__name__} {name}", case(places, way)):
                print(wrong, flush=True)
    print(f"{turns.turns} turns")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.disable(logging.WARNING)  # what is read without USRBIO says so, each time
    main(Places(**json.loads(sys.argv[1])))
