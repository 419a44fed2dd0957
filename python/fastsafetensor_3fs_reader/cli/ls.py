# SPDX-License-Identifier: Apache-2.0
"""fst3fs ls: the tensors of files, as a list or as a tree with sums."""

import argparse
import re
from fnmatch import translate
from typing import TYPE_CHECKING, Callable, Dict, List, Sequence, Tuple, Union

from . import exits
from .output import bytes_text, columns, note, print_json
from .tensors import read_tensors

if TYPE_CHECKING:
    from ..checkpoint import TensorInfo

HELP = "list the tensors of safetensors files: name, dtype, shape, bytes, file"
HAS_JSON = True


def _natural(name: str) -> List[Tuple[int, Union[int, str]]]:
    """layers.2 before layers.10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name)]


ORDERS: "Dict[str, Callable[[TensorInfo], object]]" = {
    "name": lambda tensor: _natural(tensor.name),
    "bytes": lambda tensor: -tensor.nbytes,
    "dtype": lambda tensor: tensor.dtype,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", help="files, or folders of a checkpoint's shards")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="GLOB",
        help="only tensors whose name matches, as in 'model.layers.0.*'; may be given several times",
    )
    parser.add_argument(
        "--sort",
        choices=["file", *ORDERS],
        default="file",
        help="file: as they lie in the files (default); bytes: largest first",
    )
    parser.add_argument("--tree", action="store_true", help="by the parts of their names, with sums")
    parser.add_argument(
        "--depth", type=int, default=3, metavar="N", help="levels of the tree that are shown (default: 3)"
    )


# ------------------------------------------------------------------ the tree


class Node:
    """All tensors whose names begin alike."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors = 0
        self.nbytes = 0
        self.children: Dict[str, Node] = {}

    def add(self, parts: Sequence[str], nbytes: int) -> None:
        self.tensors += 1
        self.nbytes += nbytes
        if parts:
            self.children.setdefault(parts[0], Node(parts[0])).add(parts[1:], nbytes)

    def sort(self, order: str) -> None:
        if order == "bytes":
            self.children = dict(sorted(self.children.items(), key=lambda item: -item[1].nbytes))
        elif order == "name":
            self.children = dict(sorted(self.children.items(), key=lambda item: _natural(item[0])))
        for child in self.children.values():
            child.sort(order)

    def rows(self, depth: int, indent: str = "") -> List[List[str]]:
        rows = [[indent + self.name, f"{self.tensors:,}", bytes_text(self.nbytes)]]
        if depth > 0:
            for child in self.children.values():
                rows += child.rows(depth - 1, indent + "  ")
        return rows

    def as_dict(self, depth: int) -> Dict[str, object]:
        children = [child.as_dict(depth - 1) for child in self.children.values()] if depth > 0 else []
        return {"name": self.name, "tensors": self.tensors, "bytes": self.nbytes, "children": children}


def _tree(tensors: "Sequence[TensorInfo]", depth: int, order: str) -> Node:
    root = Node("")
    for tensor in tensors:
        # What is deeper than what is shown is only counted.
        root.add(tensor.name.split(".", depth)[:depth], tensor.nbytes)
    root.sort(order)
    return root


# ------------------------------------------------------------------ the list


def _filtered(tensors: "List[TensorInfo]", patterns: Sequence[str]) -> "List[TensorInfo]":
    if not patterns:
        return tensors
    wanted = re.compile("|".join(translate(pattern) for pattern in patterns))
    return [tensor for tensor in tensors if wanted.match(tensor.name)]


def _print_list(tensors: "Sequence[TensorInfo]") -> None:
    rows = [[t.name, t.dtype, str(list(t.shape)), str(t.nbytes), t.file] for t in tensors]
    if rows:
        print(columns([["NAME", "DTYPE", "SHAPE", "BYTES", "FILE"], *rows], right=(3,)))


def _as_dict(tensor: "TensorInfo") -> Dict[str, object]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "bytes": tensor.nbytes,
        "file": tensor.file,
        "offset": tensor.offset,
    }


def run(args: argparse.Namespace) -> int:
    files, tensors = read_tensors(args.paths)
    tensors = _filtered(tensors, args.filter)
    if args.sort in ORDERS:
        tensors.sort(key=ORDERS[args.sort])  # type: ignore[arg-type]
    nbytes = sum(tensor.nbytes for tensor in tensors)
    if args.tree:
        root = _tree(tensors, max(0, args.depth), args.sort)
        if args.json:
            print_json(root.as_dict(args.depth))
        else:
            root.name = "all"
            print(columns([["TENSORS OF", "COUNT", "BYTES"], *root.rows(args.depth)], right=(1, 2)))
    elif args.json:
        print_json({"files": files, "bytes": nbytes, "tensors": [_as_dict(tensor) for tensor in tensors]}, pretty=False)
    else:
        _print_list(tensors)
        note(f"{len(tensors):,} tensors of {bytes_text(nbytes)} in {len(files):,} files")
    return exits.OK if tensors or not args.filter else exits.FOUND
