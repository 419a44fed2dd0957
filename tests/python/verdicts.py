# SPDX-License-Identifier: Apache-2.0
"""What the library and the safetensors package each make of a file, and whether that is the same.

The library's own functions run, in tests/c/safetensors/table_verdict.c, under sanitizers where the compiler has them.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import safetensors

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "tests" / "data" / "safetensors"

spec = importlib.util.spec_from_file_location("make", CORPUS / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

#: Rules that the safetensors package does not have, or not in every case.
OURS_ALONE = {rule.partition(".")[0] for rule in make.TAKEN}


class Verdict(NamedTuple):
    """What table_verdict says of one file."""

    rule: str  # "" when it is valid
    position: int
    text: str
    tensors: List[Tuple[str, str, List[int], int, int]]  # name, dtype, shape, begin, end
    metadata: Optional[Dict[str, str]]


def parse(lines: List[str]) -> Verdict:
    word, *rest = lines[0].split(" ", 4)
    if word == "broken":
        return Verdict(rest[0], int(rest[2]), rest[3], [], None)
    tensors, metadata = [], {} if rest else None
    for line in lines[1:]:
        kind, *fields = line.split(" ")
        if kind == "tensor":
            *numbers, name = fields[1:]
            begin, end, rank, *shape = map(int, numbers)
            assert len(shape) == rank
            tensors.append((bytes.fromhex(name).decode(), fields[0], shape, begin, end))
        else:
            key, value = (bytes.fromhex(field).decode() for field in fields)
            metadata[key] = value
    return Verdict("", -1, "", tensors, metadata)


def groups(lines: Iterable[str]) -> Iterator[List[str]]:
    """The lines of each file: the first of them begins with its verdict."""
    group: List[str] = []
    for line in lines:
        if group and line.startswith(("valid", "broken")):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def build(made: Path) -> bool:
    """Builds table_verdict as `made`. False without a compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return False
    sources = [*(ROOT / "src" / "safetensors").glob("*.c"), ROOT / "src" / "base" / "err.c"]
    folders = [ROOT / "include", ROOT / "src" / "base", ROOT / "src" / "safetensors"]
    command = [
        compiler,
        "-O1",
        "-g",
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-o",
        str(made),
        *(f"-I{path}" for path in folders),
    ]
    command += map(str, [*sources, ROOT / "tests" / "c" / "safetensors" / "table_verdict.c"])
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*command, *sanitizers], capture_output=True, check=False).returncode != 0:
        subprocess.run(command, check=True)
    return True


def run(*command: str) -> List[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def judge(program: str, folder: Path, contents: List[bytes]) -> List[Verdict]:
    """Ours, of each. The files are left in `folder`."""
    paths = [folder / f"{i}.safetensors" for i in range(len(contents))]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    verdicts = [parse(lines) for lines in groups(run(program, *map(str, paths)))]
    assert len(verdicts) == len(contents)
    return verdicts


def refusal(content: bytes) -> str:
    """Why the safetensors package refuses a file; "" if it does not."""
    try:
        safetensors.deserialize(content)
    except safetensors.SafetensorError as e:
        return str(e)
    return ""


def same_tensors(content: bytes, verdict: Verdict, path: Path) -> None:
    expected = {name: (info["dtype"], info["shape"], info["data"]) for name, info in safetensors.deserialize(content)}
    assert {name: (dtype, shape, content[begin:end]) for name, dtype, shape, begin, end in verdict.tensors} == expected
    path.write_bytes(content)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == verdict.metadata
        places = {name: (begin, end) for name, _, _, begin, end in verdict.tensors}
        assert [places[name] for name in file.offset_keys()] == list(places.values())


def same(content: bytes, verdict: Verdict, path: Path) -> bool:
    """Asserts that both say the same, but for what docs/safetensors-rules.md lists; true when it is that all is well.
    `path` may be written to."""
    reason = refusal(content)
    if verdict.rule == "" and reason == "":
        same_tensors(content, verdict, path)
        return True
    if verdict.rule == "":
        assert "number out of range" in reason, (content, reason)
    elif reason == "":
        assert verdict.rule in OURS_ALONE, (content, verdict.text)
    return False
