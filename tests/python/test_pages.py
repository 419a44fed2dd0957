# SPDX-License-Identifier: Apache-2.0
"""The documentation says what is so: every error message, every option, every function of the C API."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Dict, List, Set

import pytest
from support import ROOT

from fastsafetensor_3fs_reader.cli import COMMANDS, build_parser, exits, name_of

DOCS = ROOT / "docs"


# ------------------------------------------------------------------ error messages


@pytest.fixture(scope="module")
def sources() -> ModuleType:
    """hack/messages.py, which finds the messages in the sources."""
    spec = importlib.util.spec_from_file_location("messages", ROOT / "hack" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def explained() -> List[str]:
    """The messages of docs/troubleshooting.md: what stands in code in the first column of its tables."""
    rows = [
        line
        for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def explains(entry: str, text: str, said: Set[str], hole: str) -> bool:
    """An entry is a message, or, where it is none and ends with a hole, how several begin."""
    return entry == text or (entry not in said and entry.endswith(hole) and text.startswith(entry[: -len(hole)]))


def test_every_message_is_explained(sources: ModuleType) -> None:
    messages, entries = sources.messages(), explained()
    said = {message.text for message in messages}
    missing = [m for m in messages if not any(explains(entry, m.text, said, sources.HOLE) for entry in entries)]
    lines = [f"{m.file}:{m.line}: {m.text}" for m in missing]
    assert not missing, "docs/troubleshooting.md says nothing of:\n" + "\n".join(lines)


def test_nothing_is_explained_that_nobody_says(sources: ModuleType) -> None:
    said = {message.text for message in sources.messages()}
    stale = [entry for entry in explained() if not any(explains(entry, text, said, sources.HOLE) for text in said)]
    assert not stale, "docs/troubleshooting.md explains what the sources do not say:\n" + "\n".join(stale)


def test_messages_are_found(sources: ModuleType) -> None:
    """One of each kind: a format of C with macros, one cut by a bracket, a row of a table, and Python's."""
    said = {message.text for message in sources.messages()}
    for text in (
        "buffer_size is …, must be between 1 and this machine's …",
        "this user may not open its 3fs-virt/iovs",
        "usrbiod: need BACKING_DIR and MOUNTPOINT; see usrbiod --help",
        "entries must be at least 1, not …",
        "short read: … of … bytes at offset …",
    ):
        assert text in said


# ------------------------------------------------------------------ man pages of the tools


def man_page(name: str) -> str:
    return (DOCS / "man" / name).read_text(encoding="utf-8")


def options_in_mdoc(text: str) -> Dict[str, bool]:
    """Of the lists of options: each, and whether it takes an argument."""
    found = {}
    for line in re.findall(r"^\.It (Fl .*)$", text, re.MULTILINE):
        for part in re.split(r" [,;] (?=Fl)", line):
            names = re.findall(r"Fl Fl ([\w-]+)|Fl (\w)(?!l )", part)
            found.update({long or short: " Ar " in part or " Cm " in part for long, short in names})
    return found


def options_in_synopsis(text: str) -> Dict[str, bool]:
    """Of the lines below a command's name: each, and whether it takes an argument."""
    pairs = re.findall(r"Fl Fl ([\w-]+)( Ar)?", text)
    return {name: bool(argument) for name, argument in pairs}


def sections(text: str) -> Dict[str, str]:
    """Of fst3fs(1): command -> its part."""
    parts = re.split(
        r"^\.Ss ([\w-]+)$", text.split(".Sh COMMANDS")[1].split(".Sh ENVIRONMENT", maxsplit=1)[0], flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_command_and_no_other() -> None:
    assert list(sections(man_page("fst3fs.1"))) == [name_of(module) for module in COMMANDS]


@pytest.mark.parametrize("module", COMMANDS, ids=name_of)
def test_a_command(module: ModuleType, capsys: pytest.CaptureFixture) -> None:
    name = name_of(module)
    part = sections(man_page("fst3fs.1"))[name]
    with pytest.raises(SystemExit):
        build_parser().parse_args([name, "--help"])
    shown = capsys.readouterr().out
    in_help = {
        long: bool(argument)
        for long, argument in re.findall(
            r"^  (?:-\w, )?--([\w-]+)(?: ([A-Z]+|\{[\w,]+\}))?(?:  |$)", shown, re.MULTILINE
        )
        if long != "help"
    }
    synopsis, _, description = part.partition("\n.Pp\n")
    assert options_in_synopsis(synopsis) == in_help
    # --json means the same everywhere, and is described once.
    assert options_in_mdoc(description) == {long: arg for long, arg in in_help.items() if long != "json"}


def test_exit_codes() -> None:
    part = man_page("fst3fs.1").split(".Sh EXIT STATUS")[1]
    assert re.findall(r"^\.It (\d+)$", part, re.MULTILINE) == re.findall(
        r"(?:^|; |codes: )(\d+) ", exits.EPILOG.replace("\n", "; ")
    )


@pytest.mark.parametrize("name", ["fst3fs.1", "usrbiod.1"])
def test_a_page_is_well_formed(name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    command = ["groff", "-mdoc", "-ww", "-z", str(DOCS / "man" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------ the site, and the man page of the C API


def declared() -> Set[str]:
    """Functions, types and constants of fst3fs.h."""
    header = (ROOT / "include" / "fst3fs.h").read_text(encoding="utf-8")
    functions = re.findall(r"^FST3FS_API [^;(]*?\b(\w+)\(", header, re.MULTILINE)
    types = re.findall(r"^(?:struct|enum) (\w+) \{", header, re.MULTILINE)
    constants = re.findall(r"^\t(FST3FS_\w+)\s*[=,]", header, re.MULTILINE)
    return {*functions, *types, *constants}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make docs`, somewhere else: it fails on any warning."""
    for module, tool in (("sphinx", "sphinx"), ("breathe", "breathe")):
        pytest.importorskip(module, reason=f"no {tool} here: make docs")
    if shutil.which("doxygen") is None:
        pytest.skip("no doxygen here: make docs")
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, "-I", str(ROOT / "hack" / "docs.py"), str(folder)], check=True, cwd=ROOT)
    return folder


def test_the_man_page_of_the_c_api(site: Path) -> None:
    page = (site / "man" / "fst3fs.3").read_text(encoding="utf-8").replace("\\&", "").replace("\\-", "-")
    names = declared()
    assert len(names) > 50
    missing = {name for name in names if not re.search(rf"\b{name}\b", page)}
    assert not missing
    # And each by a name of its own.
    for name in names:
        alias = site / "man" / f"{name}.3"
        assert alias.exists() == name.islower(), name
        assert name.isupper() or alias.read_text(encoding="utf-8") == ".so man3/fst3fs.3\n"


def test_the_pages_of_the_site(site: Path) -> None:
    pages = {path.stem for path in (site / "html").glob("*.html")}
    assert {path.stem for path in DOCS.glob("*.md")} <= pages
    python = (site / "html" / "api" / "python.html").read_text(encoding="utf-8")
    for name in ("ThreeFSFileReader", "read_many", "create_reader", "safe_open", "extract_mount_point"):
        assert name in python
