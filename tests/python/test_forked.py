# SPDX-License-Identifier: Apache-2.0
"""forked.py, which tests run what imports PyTorch with: a child's end is noticed, and none outlives the tests."""

import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from forked import Forked
from support import eventually

HERE = Path(__file__).parent
CASES = HERE / "forked_cases.py"


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    started = Forked(CASES)
    yield started
    started.stop()


def test_each_finds_what_was_imported_and_nothing_of_others(forked: Forked) -> None:
    forked.ask("look", ranks=2, environment={"WORD": "this"})
    answers = forked.answers()
    assert [(a.error, a.log) for a in answers] == [("", "said\ncomplained\n")] * 2
    found = [a.result for a in answers]
    assert [(f["rank"], f["ranks"], f["before"], f["word"]) for f in found] == [(n, 2, [n], "this") for n in (0, 1)]
    again = forked.run("look").result
    assert (again["before"], again["word"]) == ([0], None)
    assert len({again["pid"], *(f["pid"] for f in found)}) == 3


def test_an_answer_that_nobody_took_is_not_the_next_ones(forked: Forked) -> None:
    forked.ask("fail")
    assert forked.run("look").error == ""


def test_an_exception_is_an_answer(forked: Forked) -> None:
    answer = forked.run("fail")
    assert (answer.result, answer.error) == (None, "KeyError: 'no such thing'")
    assert "in fail" in answer.log


@pytest.mark.parametrize(("case", "status"), [("die", -9), ("end_badly", 3)])
def test_an_end_that_is_none(forked: Forked, case: str, status: int) -> None:
    assert forked.run(case).error == f"it ended with {status}"


def test_one_that_hangs_shows_where_and_ends() -> None:
    hasty = Forked(CASES, timeout=1)
    answer = hasty.run("hang_for_ever")
    assert answer.error == "it ended with 1"
    assert "in hang_for_ever" in answer.log
    assert hasty.run("look").error == ""
    hasty.stop()


def test_imports_that_leave_threads_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    threaded = Forked(CASES, A_THREAD="1")
    with pytest.raises(AssertionError, match="it ended with 1"):
        threaded.run("look")
    with pytest.raises(AssertionError):
        threaded.stop()
    assert "the children would be without 1 of its threads" in capfd.readouterr().err


ASK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from forked import Forked
Forked(Path(sys.argv[1]) / "forked_cases.py").run("hang_for_ever", tell=sys.argv[2])
"""


def has_ended(pid: str) -> bool:
    """Whether or not somebody has looked: the first process of a container need not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_nothing_outlives_the_tests(tmp_path: Path) -> None:
    told = tmp_path / "told"
    tests = subprocess.Popen([sys.executable, "-I", "-c", ASK, str(HERE), str(told)])
    assert eventually(lambda: told.exists() and told.read_text().endswith("\n"), 30)
    tests.kill()
    tests.wait()
    for pid in told.read_text().split():
        assert eventually(lambda pid=pid: has_ended(pid)), "it is still there"
