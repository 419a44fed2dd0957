# SPDX-License-Identifier: Apache-2.0
"""fst3fs check: are headers and index valid, and do USRBIO and the kernel give the same bytes?"""

import argparse
import json
import os
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Tuple

from . import exits
from .compare import Difference, compare_files
from .output import bytes_text, columns, note, print_json
from .tensors import open_checkpoints

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

HELP = "validate headers and index; --data: is what USRBIO reads what the kernel reads?"
HAS_JSON = True
INDEX = "model.safetensors.index.json"


class Verdict(NamedTuple):
    """Of one file. ``fault`` is "" for none."""

    file: str
    tensors: int
    nbytes: int
    fault: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="files, or folders of a checkpoint's shards")
    parser.add_argument(
        "--data",
        action="store_true",
        help="read every byte through USRBIO and through the kernel, and compare; with a progress bar where tqdm is",
    )


# ------------------------------------------------------------------ headers and index


def _open(path: str) -> "Tuple[Optional[Checkpoint], str]":
    """A checkpoint, or what is wrong with it. What is wrong with the machine instead is an exception."""
    try:
        (checkpoint,) = open_checkpoints([path])
        return checkpoint, ""
    except (ValueError, FileNotFoundError) as e:
        return None, str(e)


def _verdicts(checkpoint: "Checkpoint") -> List[Verdict]:
    """All is well with each of its files."""
    sums: Dict[str, List[int]] = {file: [0, 0] for file in checkpoint.files}
    for tensor in checkpoint.tensors:
        sums[tensor.file][0] += 1
        sums[tensor.file][1] += tensor.nbytes
    return [Verdict(file, count, nbytes, "") for file, (count, nbytes) in sums.items()]


def _one_by_one(folder: str) -> List[Verdict]:
    """The files of a folder that is no checkpoint as a whole: which are to blame?"""
    verdicts = []
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".safetensors")):
        checkpoint, fault = _open(os.path.join(folder, name))
        verdicts += _verdicts(checkpoint) if checkpoint else [Verdict(os.path.join(folder, name), 0, 0, fault)]
    return verdicts


def _index_fault(index: str, checkpoint: "Checkpoint") -> str:
    """What the files have and the index does not tell. The rest was compared when they were opened."""
    with open(index, encoding="utf-8") as file:
        contents = json.load(file)
    total = contents.get("metadata", {}).get("total_size") if isinstance(contents.get("metadata"), dict) else None
    nbytes = sum(tensor.nbytes for tensor in checkpoint.tensors)
    if total is not None and total != nbytes:
        note(f"{index}: total_size is {total}, and the tensors have {nbytes} bytes")
    missing = [tensor for tensor in checkpoint.tensors if tensor.name not in contents["weight_map"]]
    if not missing:
        return ""
    return f"does not name {len(missing)} tensors of its files, such as {missing[0].name} of {missing[0].file}"


def _check_folder(folder: str) -> List[Verdict]:
    index = os.path.join(folder, INDEX)
    checkpoint, fault = _open(folder)
    if checkpoint is None:
        verdicts = _one_by_one(folder)
        # What no single file is to blame for is the folder's.
        return verdicts if any(v.fault == fault for v in verdicts) else [*verdicts, Verdict(folder, 0, 0, fault)]
    verdicts = _verdicts(checkpoint)
    if os.path.exists(index):
        fault = _index_fault(index, checkpoint)
        verdicts += [Verdict(index, 0, 0, fault)] if fault else []
    return verdicts


def check_headers(paths: Sequence[str]) -> List[Verdict]:
    verdicts: List[Verdict] = []
    for path in paths:
        os.stat(path)
        if os.path.isdir(path):
            verdicts += _check_folder(path)
        else:
            checkpoint, fault = _open(path)
            verdicts += _verdicts(checkpoint) if checkpoint else [Verdict(path, 0, 0, fault)]
    return list(dict.fromkeys(verdicts))


# ------------------------------------------------------------------ the report


def _place(difference: Difference) -> str:
    where = f"byte {difference.tensor_offset} of {difference.tensor}" if difference.tensor else "the header"
    return (
        f"{difference.file}: byte {difference.offset}, {where}:"
        f" USRBIO gives {difference.usrbio:#04x}, the kernel {difference.kernel:#04x}"
    )


def _print_report(verdicts: Sequence[Verdict], differences: Optional[Sequence[Difference]]) -> None:
    rows = [
        ["BAD", v.fault if v.file in v.fault else f"{v.file}: {v.fault}"]
        if v.fault
        else ["ok", f"{v.file}: {v.tensors:,} tensors, {bytes_text(v.nbytes)}"]
        for v in verdicts
    ]
    rows += [["BAD", _place(difference)] for difference in differences or ()]
    print(columns(rows))
    bad = sum(row[0] == "BAD" for row in rows)
    compared = "" if differences is None else "; every byte was compared"
    print(f"{bad} {'is' if bad == 1 else 'are'} BAD." if bad else f"All is well{compared}.")


def run(args: argparse.Namespace) -> int:
    verdicts = check_headers(args.paths)
    sound = [v.file for v in verdicts if not v.fault]
    outcome = compare_files(sound) if args.data and sound else None
    differences = outcome.differences if outcome else None
    if args.json:
        files = [{**v._asdict(), "fault": v.fault or None} for v in verdicts]
        print_json({"files": files, "data": outcome.as_dict() if outcome else None})
    else:
        _print_report(verdicts, differences)
    well = len(sound) == len(verdicts) and not differences
    return exits.OK if well else exits.FOUND
