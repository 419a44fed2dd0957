# SPDX-License-Identifier: Apache-2.0
"""The table of tensors beside the safetensors package: the same verdict, and the same tensors."""

import functools
import random
import re
from pathlib import Path
from typing import Callable, List

import pytest

pytest.importorskip("safetensors", minversion="0.8", reason="older ones do not know every dtype")

import verdicts
from verdicts import CORPUS, OURS_ALONE, ROOT, Verdict, groups, make, refusal, run, same, same_tensors


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("table") / "table_verdict"
    if not verdicts.build(made):
        pytest.skip("no C compiler to build table_verdict with")
    return str(made)


@pytest.fixture
def judge(program: str, tmp_path: Path) -> Callable[[List[bytes]], List[Verdict]]:
    return functools.partial(verdicts.judge, program, tmp_path)


# ------------------------------------------------------------------ the corpus


def test_the_corpus_is_what_its_script_writes() -> None:
    written = {
        str(path.relative_to(CORPUS)): path.read_bytes()
        for path in CORPUS.glob("*/*.*")
        if path.parent.name != "__pycache__"
    }
    assert written == dict(make.files())


def test_every_rule_has_a_broken_file(program: str) -> None:
    rules = {line.split(" ")[1] for line in run(program, "--rules")}
    assert rules == (set(make.BROKEN) | set(make.INDICES)) - {"valid"}


def test_broken_files_break_the_rule_that_they_are_named_for(judge: Callable) -> None:
    names = [(rule, kind) for rule, kinds in make.BROKEN.items() for kind in kinds]
    for (rule, kind), verdict in zip(names, judge([make.BROKEN[rule][kind] for rule, kind in names])):
        assert verdict.rule == rule, kind
        assert f"({rule}, byte {verdict.position})" in verdict.text


def test_broken_indices_break_the_rule_that_they_are_named_for(program: str) -> None:
    paths = sorted(CORPUS.glob("index/*.json"))
    verdicts = list(groups(run(program, *map(str, paths))))
    assert len(verdicts) == len(paths)
    for path, lines in zip(paths, verdicts):
        words = lines[0].split(" ")
        assert path.name.split(".")[0] == (words[1] if words[0] == "broken" else words[0])


def test_the_same_verdict(judge: Callable) -> None:
    for name, verdict in zip(make.VALID, judge(list(make.VALID.values()))):
        assert verdict.rule == "", f"{name}: {verdict.text}"
        assert refusal(make.VALID[name]) == "", name
    for rule, kinds in make.BROKEN.items():
        for kind, content in kinds.items():
            assert bool(refusal(content)) == (f"{rule}.{kind}" not in make.TAKEN), f"{rule}.{kind}"


def test_the_same_tensors(judge: Callable, tmp_path: Path) -> None:
    for content, verdict in zip(make.VALID.values(), judge(list(make.VALID.values()))):
        same_tensors(content, verdict, tmp_path / "file")


# ------------------------------------------------------------------ files that nobody thought of

PIECES = [
    *(rb'{}[]:,"\ ' + b"\n0123456789-.e\0\x7f\xc3\xff"),
    *(b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"U8"', b'"F4"', b"null", b"true", b'"t":', b'""'),
    *(b"[0,4]", b"[4]", b"[]", b"{}", b"\\u0000", b"\\ud83d", b"\\ude00", b"18446744073709551615", b"1e5", b"  "),
]


def pieces() -> List[bytes]:
    return [piece if isinstance(piece, bytes) else bytes([piece]) for piece in PIECES]


def change(header: bytearray, random_: random.Random) -> None:
    at = random_.randint(0, len(header))
    end = min(len(header), at + random_.choice((1, 1, 2, 8, 60)))
    part = bytes(header[at:end])
    header[at:end] = random_.choice(
        (
            b"",  # left out
            part + part,
            random_.choice(pieces()),
            random_.choice(pieces()) + part,
            random_.choice((b" ", b"\n")) + part,  # often of no consequence, as is
            b"".join(b"\\u%04x" % byte if chr(byte).isalpha() else bytes([byte]) for byte in part),
        )
    )


def mutate(content: bytes, random_: random.Random) -> bytes:
    """A file with changes to its header, mostly one, and with a length and data that fit, mostly."""
    length = int.from_bytes(content[:8], "little")
    header, data = bytearray(content[8 : 8 + length]), content[8 + length :]
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        change(header, random_)
    if random_.random() < 0.05:
        data = random_.choice((b"", data + b"x"))
    wrong = random_.choice((len(header) + 1, max(len(header) - 1, 0)))
    return make.file(bytes(header), length=wrong if random_.random() < 0.05 else -1) + data


@pytest.mark.parametrize("seed", range(4))
def test_the_same_verdict_on_mutated_files(judge: Callable, tmp_path: Path, seed: int) -> None:
    random_ = random.Random(seed)
    broken = [content for kinds in make.BROKEN.values() for content in kinds.values() if len(content) > 8]
    bases = [*make.VALID.values(), *make.VALID.values(), *broken]
    contents = [mutate(random_.choice(bases), random_) for _ in range(1500)]
    path = tmp_path / "file"
    valid = sum(same(content, verdict, path) for content, verdict in zip(contents, judge(contents)))
    assert valid > 50, "mutations must not all break their file"


# ------------------------------------------------------------------ the documentation


def test_the_documentation_has_every_rule_and_its_number(program: str) -> None:
    text = (ROOT / "docs" / "safetensors-rules.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    assert [f"{number} {name}" for number, name in rows] == run(program, "--rules")
    for rule in OURS_ALONE:
        assert f"| `{rule}` |" in text.partition("## Where we differ")[2], rule
