# SPDX-License-Identifier: Apache-2.0
"""The targets in tests/fuzz: what they say of themselves is so. `make fuzz` runs them, the C tests run their inputs."""

import re
from pathlib import Path

import pytest
from support import ROOT, load_script

FUZZ = ROOT / "tests" / "fuzz"
NAMES = sorted(path.stem.replace("fuzz_", "", 1) for path in FUZZ.glob("fuzz_*.c"))


runner = load_script("run_fuzz", FUZZ / "run.py")
every_target = pytest.mark.parametrize("name", NAMES)


@every_target
def test_what_a_target_covers_is_there(name: str) -> None:
    covers = runner.Target(name, Path(), []).covers
    assert covers
    for source in covers:
        assert (ROOT / source).is_file(), source


@every_target
def test_a_target_has_inputs(name: str) -> None:
    assert any((FUZZ / "corpus" / name).iterdir())


def test_the_documentation_has_every_target() -> None:
    text = (ROOT / "docs" / "proofs.md").read_text("utf-8").partition("## Fuzzing")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == NAMES


def test_every_dictionary_and_corpus_has_a_target() -> None:
    assert {path.stem for path in FUZZ.glob("*.dict")} <= set(NAMES)
    assert {path.name for path in (FUZZ / "corpus").iterdir()} <= set(NAMES)
