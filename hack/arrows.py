# SPDX-License-Identifier: Apache-2.0
"""Which room uses which, from includes and from calls; an arrow that runs up, or round in a circle, is an error.

Usage: arrows.py BUILD_DIR [--draw]. A room is a folder; ROOMS lists them, each below those that may use it. Calls are
what one room's object files leave undefined and another's define, so that a declaration by hand hides nothing.
"""

import argparse
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterable, List, Set, Tuple

#: Room -> those that it may use. Nothing else, and only what stands above it here.
ROOMS: Dict[str, Tuple[str, ...]] = {
    "include": (),
    "src/base": ("include",),
    "src/usrbio/wire": (),
    "src/usrbio": ("include", "src/base", "src/usrbio/wire"),
    "src/usrbio/dropin": ("include", "src/base", "src/usrbio", "src/usrbio/wire"),
    "src/safetensors": ("include", "src/base"),
    "src/plan": ("src/base",),
    "src/io": ("include", "src/base", "src/usrbio", "src/usrbio/wire"),
    "src/dev": ("include", "src/base"),
    "src/reader/files": ("include", "src/base", "src/io"),
    "src/reader/session": ("include", "src/base", "src/io", "src/dev", "src/reader/files"),
    "src/reader/engine": ("include", "src/base", "src/io", "src/dev", "src/reader/files", "src/reader/session"),
    "src/reader/api": (
        "include",
        "src/base",
        "src/usrbio",
        "src/safetensors",
        "src/plan",
        "src/io",
        "src/dev",
        "src/reader/files",
        "src/reader/session",
        "src/reader/engine",
    ),
    "src/python": ("include", "src/reader/api"),  # calls alone: the build gives it no header but fst3fs.h
    "usrbiod/base": ("src/base",),
    "usrbiod/files": (),
    "usrbiod/registry": ("src/base", "usrbiod/base"),
    "usrbiod/storage": ("src/base", "usrbiod/base"),
    "usrbiod/rings": (
        "src/base",
        "src/usrbio/wire",
        "usrbiod/base",
        "usrbiod/files",
        "usrbiod/registry",
        "usrbiod/storage",
    ),
    "usrbiod/fs": (
        "src/base",
        "src/usrbio/wire",
        "usrbiod/base",
        "usrbiod/files",
        "usrbiod/registry",
        "usrbiod/storage",
        "usrbiod/rings",
    ),
    "usrbiod/program": (
        "src/base",
        "src/usrbio/wire",
        "usrbiod/base",
        "usrbiod/files",
        "usrbiod/registry",
        "usrbiod/storage",
        "usrbiod/rings",
        "usrbiod/fs",
    ),
    "usrbiod": ("usrbiod/program",),
}

Arrow = Tuple[str, str]
#: Arrow -> where it was seen.
Arrows = Dict[Arrow, Set[str]]


def _room(path: Path) -> str:
    return path.parent.as_posix()


def _sources() -> List[Path]:
    return [path for room in ROOMS for path in sorted(Path(room).glob("*.[ch]"))]


def _resolve(user: Path, owners: List[Path]) -> Path:
    """Of several owners of one name (client and daemon share none of theirs) the one that the user may mean."""
    near = [o for o in owners if _room(o) == _room(user)] or [o for o in owners if _room(o) in ROOMS[_room(user)]]
    return (near or owners)[0]


def _includes(sources: Iterable[Path], arrows: Arrows) -> None:
    headers: Dict[str, List[Path]] = defaultdict(list)
    for path in sources:
        if path.suffix == ".h":
            headers[path.name].append(path)
    for path in sources:
        for name in re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            if name in headers:
                arrows[path.as_posix(), _resolve(path, headers[name]).as_posix()].add(f"includes {name}")


def _symbols(obj: Path) -> Tuple[Set[str], Set[str]]:
    """What an object file defines for others, and what it wants of others."""
    defines, wants = set(), set()
    output = subprocess.run(["nm", "-g", str(obj)], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        *_, kind, name = line.split()
        (wants if kind == "U" else defines).add(name)
    return defines, wants


def _objects(build: Path, sources: Iterable[Path]) -> Dict[Path, Path]:
    """Source -> its object file, of the library that its room is built into."""
    found: Dict[Path, Path] = {}
    for obj in build.rglob("*.c.o"):
        for source in sources:
            # meson names an object after its source, relative to the target's folder, with _ for /.
            target = obj.parent.parent.relative_to(build)
            if source.suffix == ".c" and target.as_posix() == _room(source) and obj.name == source.name + ".o":
                found[source] = obj
    return found


def _calls(build: Path, sources: List[Path], arrows: Arrows) -> None:
    symbols = {source: _symbols(obj) for source, obj in _objects(build, sources).items()}
    missing = [s.as_posix() for s in sources if s.suffix == ".c" and s not in symbols and "py_buffer" not in s.name]
    if missing:
        raise SystemExit(f"arrows: not built in {build}: {', '.join(missing)}")
    owners: Dict[str, List[Path]] = defaultdict(list)
    for source, (defines, _) in symbols.items():
        for name in defines:
            owners[name].append(source)
    for source, (_, wants) in symbols.items():
        for name in wants & owners.keys():
            arrows[source.as_posix(), _resolve(source, owners[name]).as_posix()].add(f"calls {name}")


def _circles(arrows: Iterable[Arrow]) -> List[List[str]]:
    """Groups of files that reach each other: .c files by calls, headers by includes."""
    graph: Dict[str, Set[str]] = defaultdict(set)
    for a, b in arrows:
        if Path(a).suffix == Path(b).suffix:
            graph[a].add(b)

    def reach(start: str) -> Set[str]:
        seen: Set[str] = set()
        todo = list(graph[start])
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += graph.get(node, ())
        return seen

    reached = {node: reach(node) for node in list(graph)}
    circles = {frozenset({n} | {m for m in reached[n] if n in reached.get(m, ())}) for n in reached if n in reached[n]}
    return sorted(sorted(circle) for circle in circles)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--draw", action="store_true", help="print the arrows between rooms")
    args = parser.parse_args()
    sources = _sources()
    by_file: Arrows = defaultdict(set)
    _includes(sources, by_file)
    _calls(args.build, sources, by_file)
    between: Arrows = defaultdict(set)
    wrong = 0
    for (a, b), how in sorted(by_file.items()):
        a_room, b_room = _room(Path(a)), _room(Path(b))
        if a_room == b_room:
            continue
        between[a_room, b_room] |= how
        if b_room not in ROOMS[a_room]:
            wrong += 1
            print(f"arrows: {a} may not use {b}: {', '.join(sorted(how))}")
    for circle in _circles(by_file):
        wrong += 1
        print(f"arrows: these need each other: {', '.join(circle)}")
    if args.draw:
        for a, b in sorted(between):
            print(f"{a} -> {b}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
