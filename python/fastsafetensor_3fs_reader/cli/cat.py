# SPDX-License-Identifier: Apache-2.0
"""fst3fs cat: one tensor, as raw bytes or as a .npy file."""

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Dict

from ..backend import create_reader, extract_mount_point
from ..interface import FileReaderInterface
from . import exits
from .hostmemory import HostMemory
from .output import note
from .tensors import open_checkpoints

if TYPE_CHECKING:
    from ..checkpoint import TensorInfo

HELP = "write the bytes of one tensor to stdout"
STEP = 64 << 20
#: Its result is bytes, for programs already.
HAS_JSON = False

#: Element types that numpy has, little-endian as in the file.
NUMPY_TYPES: Dict[str, str] = {
    **{"BOOL": "|b1", "I8": "|i1", "U8": "|u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4"},
    **{"I64": "<i8", "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"},
}
#: What numpy writes for the types of ml_dtypes: their bytes, without a meaning.
VOID_TYPES: Dict[str, str] = {
    **{"BF16": "<V2", "F8_E4M3": "|V1", "F8_E5M2": "|V1", "F8_E8M0": "|V1", "F8_E4M3FNUZ": "|V1", "F8_E5M2FNUZ": "|V1"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE|DIR", help="a file, or the folder of a checkpoint's shards")
    parser.add_argument("tensor", metavar="TENSOR", help="its whole name")
    parser.add_argument("--npy", action="store_true", help="with the header of a .npy file (needs numpy)")


def _find(path: str, name: str) -> "TensorInfo":
    (checkpoint,) = open_checkpoints([path])
    try:
        return checkpoint.tensors[checkpoint.number(name)]
    except KeyError as e:
        raise ValueError(str(e)) from None


def _write_npy_header(tensor: "TensorInfo", out: BinaryIO) -> None:
    try:
        from numpy.lib import format as npy  # noqa: PLC0415 (raw bytes need no numpy)
    except ImportError:
        raise RuntimeError("--npy needs numpy: pip install numpy") from None
    kind = NUMPY_TYPES.get(tensor.dtype) or VOID_TYPES.get(tensor.dtype)
    if kind is None:
        raise ValueError(
            f"{tensor.file}: {tensor.name} is {tensor.dtype}, which no .npy file can hold; without --npy it comes raw"
        )
    if tensor.dtype in VOID_TYPES:
        note(f"numpy has no {tensor.dtype}: view what you load as the type of that name in ml_dtypes")
    npy.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": tensor.shape})


def _write_data(reader: FileReaderInterface, tensor: "TensorInfo", out: BinaryIO) -> None:
    end = tensor.offset + tensor.nbytes
    with closing(HostMemory(min(STEP, tensor.nbytes))) as memory:
        for at in range(tensor.offset, end, STEP):
            size = min(STEP, end - at)
            got = reader.read_chunked(tensor.file, memory.address, at, size)
            if got != size:
                raise OSError(f"{tensor.file}: {got} of {size} bytes at {at}: the file became shorter")
            out.write(memory.view[:size])


def run(args: argparse.Namespace) -> int:
    if sys.stdout is None:
        raise OSError("there is no standard output to write to")
    out = sys.stdout.buffer
    if out.isatty():
        raise ValueError("bytes do not belong on a terminal: redirect the output to a file or a program")
    tensor = _find(args.file, args.tensor)
    if args.npy:
        _write_npy_header(tensor, out)
    with create_reader(mount_point=extract_mount_point(tensor.file)) as reader:
        _write_data(reader, tensor, out)
    return exits.OK
