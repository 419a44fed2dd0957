# SPDX-License-Identifier: Apache-2.0
"""What README and docs say is so: names, commands, arguments, links, and figures that follow from others."""

import ast
import functools
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

import pytest
from safetensors.numpy import save_file
from support import MIB, PACKAGE, ROOT, Mount, safetensors_file
from targets import SETS
from tqdm import tqdm

from fastsafetensor_3fs_reader import ThreeFSFileReader
from fastsafetensor_3fs_reader.backend import BACKENDS
from fastsafetensor_3fs_reader.settings import DEFAULT_TIMEOUT_S, SETTINGS, environment_name
from fastsafetensor_3fs_reader.usrbiod import find_usrbiod

DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()

every_page = pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)

# ------------------------------------------------------------------ reading Markdown


def blocks(text: str, language: str = r"\w*") -> List[str]:
    """What stands between fences, with continued lines joined."""
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(r"\\\n\s*", " ", block) for block in found]


def inline(text: str) -> List[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def code(text: str) -> List[str]:
    """Everything that is set as code, line by line."""
    return [line for block in blocks(text) for line in block.splitlines()] + inline(text)


def table(text: str, *headings: str) -> List[List[str]]:
    """The cells of the first table with these headings, row by row."""
    for part in text.split("\n\n"):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
        if lines and lines[0] == list(headings):
            return lines[2:]
    raise AssertionError(f"no table {headings}")


def number(text: str) -> float:
    return float(re.sub(r"[*,]", "", text).split()[0])


# ------------------------------------------------------------------ links


def anchors(page: Path) -> Set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# ------------------------------------------------------------------ names of files, functions and variables

#: Another project's, which the page says.
OF_OTHERS = {"FASTSAFETENSORS_CONFIG", "cuda.h", "python/sglang/srt/model_loader/weight_utils.py"}


@functools.lru_cache(maxsize=1)
def files() -> List[str]:
    """Of the tree, without what was built in it."""
    built = re.compile(r"(build|dist|benchmark_results|\.\w+)")
    tops = [top for top in ROOT.iterdir() if not built.match(top.name)]
    return [str(path.relative_to(ROOT)) for top in tops for path in [top, *top.rglob("*")]]


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    tops = {name.split("/")[0] for name in files()}
    names = {Path(name).name for name in files()}
    lines = [line for line in code(page.read_text()) if not line.startswith("ninja ")]  # whose targets are files to be
    for word in {word.rstrip(".,:;") for line in lines for word in line.split()} - OF_OTHERS:
        if re.fullmatch(r"[\w.\-]+/[\w./\-]*", word) and word.split("/")[0] in tops:
            assert word.rstrip("/") in files() or (page.parent / word).exists(), word
        elif re.fullmatch(r"\w+\.[chs]h?", word):
            assert word in names, word


@functools.lru_cache(maxsize=1)
def sources() -> str:
    """All code of ours that a user runs or links with."""
    folders = ("include", "src", "usrbiod", "python", "hack")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".c", ".h", ".py")]
    return "\n".join([path.read_text() for path in paths] + [environment_name(name) for name in SETTINGS])


@every_page
def test_environment_variables_exist(page: Path) -> None:
    pattern = r"(?<![A-Z_])(?:FST3FS|FASTSAFETENSORS|HF3FS|USRBIOD)(?:_[A-Z0-9]+)*\b(?!_)"
    for name in set(re.findall(pattern, "\n".join(code(page.read_text())))) - OF_OTHERS:
        assert re.search(rf"{name}\b", sources()), name


@every_page
def test_c_functions_exist(page: Path) -> None:
    header = (ROOT / "include" / "fst3fs.h").read_text()
    for name in re.findall(r"\bfst3fs_\w+", "\n".join(inline(page.read_text()))):
        assert re.search(rf"\b{name}\b", header), name


@every_page
def test_what_info_is_asked_for_is_there(page: Path) -> None:
    with ThreeFSFileReader("", buffer_size=MIB) as reader:
        for name in re.findall(r'info\(\)\["(\w+)"\]', page.read_text()):
            assert name in reader.info(), name


# ------------------------------------------------------------------ commands


@every_page
def test_what_make_is_asked_for_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in code(page.read_text()):
        match = re.match(r"make\b([^#]*)", line)
        for word in match.group(1).split() if match else []:
            name, is_variable, _ = word.partition("=")
            if is_variable:
                assert re.search(rf"\$\({name}\)|make {name}=", makefile), line
            else:
                assert re.search(rf"^{name}:", makefile, re.MULTILINE), line


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def help_of(*command: str) -> str:
    return subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout


def flags(*command: str) -> Set[str]:
    return set(FLAG.findall(help_of(*command)))


@functools.lru_cache(maxsize=1)
def programs() -> Dict[str, Set[str]]:
    """Our programs by how they are called, and the flags of each."""
    hack = ROOT / "hack" / "benchmark"
    module = [sys.executable, "-m", PACKAGE]
    commands = {
        name: flags(*module, name) for name in re.findall(r"^    ([a-z-]+)(?: |$)", help_of(*module), re.MULTILINE)
    }
    return {
        **{f"fst3fs {name}": known for name, known in commands.items()},
        **{f"-m {PACKAGE} {name}": known for name, known in commands.items()},
        "benchmark_runner.py": flags(sys.executable, str(hack / "benchmark_runner.py")),
        "targets.py": flags(sys.executable, str(hack / "targets.py")),
        "usrbiod ": flags(find_usrbiod()),
    }


def calls(page: str) -> Iterator[Tuple[str, str]]:
    """(program, command line) for every line of code that calls one of ours."""
    for line in code(page):
        for program in programs():
            if program in line and not line.startswith(("meson", "ninja")):
                yield program, line


@every_page
def test_flags_exist(page: Path) -> None:
    for program, line in calls(page.read_text()):
        used = set(FLAG.findall(line.split(program, 1)[1]))
        assert used <= programs()[program], f"{line}: {used - programs()[program]}"


@every_page
def test_commands_exist(page: Path) -> None:
    for line in code(page.read_text()):
        for name in re.findall(rf"^(?:fst3fs|python -m {PACKAGE}) ([a-z-]+)", line):
            assert f"fst3fs {name}" in programs(), line


def test_flags_in_the_model_exist() -> None:
    used = {text.split()[0] for text in inline(PERFORMANCE) if re.match(r"--[a-z]", text)}
    assert used <= programs()["usrbiod "] | programs()["benchmark_runner.py"]


def test_there_are_commands_to_check() -> None:
    found = {program for page in DOCS for program, _ in calls(page.read_text())}
    assert found >= {"benchmark_runner.py", "fst3fs check", "usrbiod "}


# ------------------------------------------------------------------ the README's reader


def arguments(call: ast.Call) -> Dict[str, Any]:
    """Names and defaults, as inspect has them."""
    required = {ast.unparse(arg): inspect.Parameter.empty for arg in call.args}
    return {**required, **{str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}}


def signature(function: Callable) -> Dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}


def documented() -> List[ast.expr]:
    """What the first column of the table of methods names."""
    rows = table(README, "", "")
    return [ast.parse(text, mode="eval").body for row in rows for text in inline(row[0])]


def test_the_readers_methods_are_as_listed() -> None:
    listed = documented()
    calls_ = {node.func.id: node for node in listed if isinstance(node, ast.Call)}  # type: ignore[attr-defined]
    names = {node.id for node in listed if isinstance(node, ast.Name)} | calls_.keys()
    public = {name for name in dir(ThreeFSFileReader) if not name.startswith("_")}
    assert names == public - {"core"}, "which is for other modules of the package"
    for name, call in calls_.items():
        if all(isinstance(arg, ast.Name) for arg in call.args):
            assert arguments(call) == signature(getattr(ThreeFSFileReader, name)), name


def test_the_constructor_is_as_listed() -> None:
    (text,) = re.findall(r"`ThreeFSFileReader\((mount_point, .*?)\)`", README)
    call = ast.parse(f"f({text.replace('64 MiB', str(64 * MIB))})", mode="eval").body
    assert isinstance(call, ast.Call)
    real = inspect.signature(ThreeFSFileReader.__init__).parameters.values()
    positional = {p.name: p.default for p in real if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"}
    assert arguments(call) == positional
    rows = table(README, "argument", "variable", "")
    assert {row[0]: row[1] for row in rows} == {f"`{name}`": f"`{environment_name(name)}`" for name in SETTINGS}
    assert {p.name for p in real if p.kind is p.KEYWORD_ONLY} == set(SETTINGS)
    (timeout,) = (row[2] for row in rows if row[0] == "`timeout`")
    assert timeout.endswith(f"; {DEFAULT_TIMEOUT_S:g}")


def test_the_backends_are_as_listed() -> None:
    (listed,) = re.findall(r"`FASTSAFETENSORS_BACKEND=([\w|]+)`", README)
    assert listed.split("|") == [*(backend.name for backend in BACKENDS), "auto"]


def example(word: str) -> str:
    """The one with this word in it."""
    (found,) = (block for block in blocks(README, "python") if word in block)
    return found


def test_the_example_with_tensors_works(
    mount: Mount, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # a thread for good
    head = torch.arange(200 * 3, dtype=torch.int32).reshape(200, 3)
    tensors = {"lm_head.weight": head.numpy(), "model.layers.0.self_attn.q_proj.weight": head[:5].numpy()}
    save_file(tensors, mount.backing / "model.safetensors")
    names: Dict[str, Any] = {}
    exec(example("safe_open").replace("/mnt/3fs/model", str(mount.path)).replace("cuda:0", "cpu"), names)
    assert names["name"] == "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(names["tensor"], head[:5])
    assert torch.equal(names["row"], head[100:200])
    assert "'transport': 'usrbio'" in capfd.readouterr().out


def test_the_example_with_bytes_works(mount: Mount) -> None:
    text = example("ThreeFSFileReader")
    (path,) = re.findall(r'^path = "(.*)"$', text, re.MULTILINE)
    given = mount.write(Path(path).name, safetensors_file(b"tensor data"))
    names: Dict[str, Any] = {}
    exec(text.replace(path, given), names)
    assert bytes(names["tensors"]) == b"tensor data"
    assert names["reader"].info()["bytes_posix"] == 0
    assert names["reader"].info()["transport"] == "usrbio"


# ------------------------------------------------------------------ figures

RESULTS = table(PERFORMANCE, "row", "target", "result", "", "samples")


def rows_of_the_benchmark() -> Iterator[Tuple[str, str]]:
    """(pattern of the name, target as the page has it, "" for one that only a run knows) of each row."""
    nodes = (ast.walk(ast.parse(path.read_text())) for path in (ROOT / "hack" / "benchmark").glob("*rows.py"))
    for node in itertools.chain.from_iterable(nodes):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Row":
            name, target = node.args[0], node.args[2]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            pattern = "".join(re.escape(p.value) if isinstance(p, ast.Constant) else r"\S+" for p in parts)
            bound = "<=" if any(keyword.arg == "at_most" for keyword in node.keywords) else ">="
            known = isinstance(target, ast.Constant)
            value = "report" if known and target.value is None else f"{bound} {target.value:g}" if known else ""
            yield re.sub(r"^(\\ )+", "", pattern), value


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: row[0])
def test_rows_are_the_benchmarks(row: List[str]) -> None:
    name, target, result, verdict, _ = row
    found = [wanted for pattern, wanted in rows_of_the_benchmark() if re.fullmatch(pattern, name)]
    assert found, "no such row in the benchmark"
    assert target in found or "" in found
    if target == "report":
        assert verdict == ""
    else:
        bound, value = target.split()
        met = number(result) <= float(value) if bound == "<=" else number(result) >= float(value)
        assert verdict == ("met" if met else "**missed**")


def test_sets_of_rows_are_the_benchmarks() -> None:
    for names in re.findall(r"ROWS=([a-z,]+)", "\n".join(code(PERFORMANCE))):
        assert names == "a,b" or set(names.split(",")) <= SETS.keys()


def test_how_many_times_faster_follows_from_the_table() -> None:
    rows = table(PERFORMANCE, "way", "buffer", "1 process", "ours is", "8 processes", "ours is")
    ours = {row[1]: row for row in rows if row[0].startswith("**c**")}
    peers = [row for row in rows if row[3]]
    assert len(peers) >= 4
    for row in peers:
        for at in (2, 4):
            best = number(ours.get(row[1], ours["64 MiB"])[at])
            # Both were rounded to two digits.
            lowest, highest = (best - 0.005) / (number(row[at]) + 0.005), (best + 0.005) / (number(row[at]) - 0.005)
            digits = len(row[at + 1].split()[0].partition(".")[2])
            half = 0.5 * 10**-digits
            assert lowest - half <= number(row[at + 1]) <= highest + half, row


def costs() -> Tuple[float, float]:
    """Microseconds for each request, and seconds for each GB."""
    (found,) = re.findall(r"([\d.]+) microseconds for each request and ([\d.]+) seconds for each GB", PERFORMANCE)
    return float(found[0]), float(found[1])


def test_a_node_follows_from_what_a_request_costs() -> None:
    request_us, gb_s = costs()
    node = {row[0]: row for row in table(PERFORMANCE, "", "", "")}
    floor = 640 / 50
    requests = round(640e9 / (2 * MIB), -3)
    assert number(node["the floor"][2]) == floor
    assert number(node["requests of 2 MiB"][2]) == requests
    _, how, result = node["the client's CPU"]
    assert how == f"{requests:,.0f} x {request_us:g} us + 640 x {gb_s:g} s"
    seconds = requests * request_us / 1e6 + 640 * gb_s
    assert result == f"{seconds:.1f} s in all: {seconds / floor:.2f} of one core over {floor:.1f} s"


def test_what_a_request_costs_follows_from_the_table() -> None:
    """To a fifth of the cost and the last digit: two numbers stand for five measured ones."""
    request_us, gb_s = costs()
    for size, requests, _, cpu in table(PERFORMANCE, "request", "requests a GB", "GB/s", "CPU seconds for each GB"):
        bytes_ = number(size) * {"KiB": 1 << 10, "MiB": 1 << 20}[size.split()[1]]
        assert number(requests) == round(1e9 / bytes_)
        predicted = number(requests) * request_us / 1e6 + gb_s
        assert number(cpu) == pytest.approx(predicted, rel=0.2, abs=0.001), size
