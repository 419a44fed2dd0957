# SPDX-License-Identifier: Apache-2.0
"""The models in tests/models and the code cite each other, and what they cite is there. `make model` runs them."""

import re
from pathlib import Path
from typing import Dict, List, Set

import pytest
from support import ROOT, load_script

MODELS = sorted((ROOT / "tests" / "models").glob("*.pml"))
SOURCES = sorted(path for folder in ("src", "usrbiod") for path in (ROOT / folder).rglob("*.[ch]"))

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


runner = load_script("run_models", ROOT / "tests" / "models" / "run.py")


def header(model: Path) -> str:
    """The model's first comment after the licence, without the stars."""
    text = model.read_text().split("*/", 2)[1]
    return re.sub(r"\n \* ?", "\n", text)


def cited(model: Path) -> Dict[str, List[str]]:
    """The sources that a model speaks of, and the functions in them."""
    found: Dict[str, List[str]] = {}
    for path, names in re.findall(r"\[([\w/]+\.[ch]):\s+([^]]+)\]", header(model)):
        found.setdefault(path, []).extend(re.split(r",\s+", names.strip()))
    return found


def properties(model: Path) -> Set[str]:
    part = re.search(r"^Properties\n(.*?)\n\n", header(model), re.DOTALL | re.MULTILINE)
    assert part
    return set(re.findall(r"^  ([a-z-]+)  ", part.group(1), re.MULTILINE))


@every_model
def test_the_functions_that_a_model_cites_exist(model: Path) -> None:
    assert cited(model)
    for path, names in cited(model).items():
        source = (ROOT / path).read_text()
        for name in names:
            assert re.search(rf"^[a-z].*\b{name}\(", source, re.MULTILINE), f"{path} has no {name}()"


@every_model
def test_the_code_that_a_model_cites_says_so(model: Path) -> None:
    for path in cited(model):
        assert f"tests/models/{model.name}" in (ROOT / path).read_text(), path


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_the_code_says_of_models_is_so(source: Path) -> None:
    # A comment, on as many lines as it takes.
    text = re.sub(r"\n\s*\* ", " ", source.read_text())
    for name, faults in re.findall(r"tests/models/(\w+\.pml)(?::? \(?((?:[A-Z]+_[A-Z_]+(?:, )?)+))?", text):
        model = ROOT / "tests" / "models" / name
        assert source.relative_to(ROOT).as_posix() in cited(model)
        for fault in faults.split(", ") if faults else []:
            assert re.search(rf"^#ifn?def {fault}$", model.read_text(), re.MULTILINE), f"{name} has no {fault}"


@every_model
def test_every_property_can_be_violated(model: Path) -> None:
    found = {check.expected for check in runner.read_checks(model) if check.expected}
    assert found == properties(model)


@every_model
def test_every_fault_is_put_in(model: Path) -> None:
    text = model.read_text()
    used = {flag.split("=")[0] for check in runner.read_checks(model) for flag in check.flags}
    assert set(re.findall(r"^#ifn?def (\w+)$", text, re.MULTILINE)) <= used
    for name in used:
        assert re.search(rf"\b{name}\b", text.split("*/", 2)[2]), name
