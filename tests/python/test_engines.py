# SPDX-License-Identifier: Apache-2.0
"""The plugins for engines where there is no engine: `make test-engines` runs them in the engines."""

import sys
from typing import Any, Dict

import pytest
from support import run_python

from fastsafetensor_3fs_reader.engines import fitting
from fastsafetensor_3fs_reader.engines.options import Options, take_options

GROUPS = {"vllm.general_plugins": "vllm", "sglang.srt.plugins": "sglang"}

CALL = """
import sys
from importlib.metadata import distribution
points = [p for p in distribution("fastsafetensor-3fs-reader").entry_points if p.group == sys.argv[1]]
assert [p.name for p in points] == ["3fs"], points
points[0].load()()
print(sorted({"torch", "vllm", "sglang", "fastsafetensor_3fs_reader._core"} & set(sys.modules)))
"""


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_plugin_is_installed_and_harms_nobody(group: str) -> None:
    """What an engine calls imports nothing heavy, and does not fail even where the engine cannot be imported."""
    done = run_python("-c", CALL, group)
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout
    if group == "sglang.srt.plugins":
        assert "does not fit sglang (of unknown version): ModuleNotFoundError" in done.stderr


def test_options_are_ours_or_the_engines() -> None:
    extra = {"buffer_size": 1 << 20, "distributed": "off", "enable_weights_track": True}
    options, rest = take_options(extra, ("enable_weights_track",))
    assert options == Options(buffer_size=1 << 20, distributed="off")
    assert rest == {"enable_weights_track": True}
    assert take_options(None) == (Options(), {})


def test_what_is_required_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Options().requires_usrbio
    monkeypatch.setenv("FST3FS_REQUIRE", "usrbio")
    assert Options().requires_usrbio
    assert not Options(require="").requires_usrbio


@pytest.mark.parametrize("extra", [["timeout"], "timeout", 5])
def test_options_are_an_object(extra: Any) -> None:
    with pytest.raises(ValueError, match="must be a JSON object"):
        take_options(extra)


def test_when_imported_it_is_called_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "imported_later.py").write_text("WHAT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    fitting.when_imported("imported_later", lambda: seen.append(sys.modules["imported_later"].WHAT))
    assert seen == []
    import imported_later  # noqa: PLC0415

    assert seen == [1]
    fitting.when_imported("imported_later", lambda: seen.append(2))
    assert seen == [1, 2]
    assert imported_later.__spec__.origin == str(tmp_path / "imported_later.py")
    del sys.modules["imported_later"]


WORD = "before"


def _says(*, mark: str = "!") -> str:
    return WORD + mark


def test_a_name_means_something_else_in_a_copy_alone() -> None:
    assert fitting.with_globals(_says, WORD="after")() == "after!"
    assert _says() == "before!"


@pytest.mark.parametrize(
    ("needs", "missed"),
    [
        ({"name": "gone"}, "there is no function"),
        ({"name": "_says", "parameters": ["tone"]}, "has no parameter 'tone'"),
        ({"name": "_says", "uses": ["GROUPS"]}, "does not use GROUPS"),
    ],
)
def test_what_is_missed_is_named(needs: Dict[str, Any], missed: str) -> None:
    with pytest.raises(fitting.MissingError, match=missed):
        fitting.needs_function(sys.modules[__name__], **needs)
    fitting.needs_function(sys.modules[__name__], "_says", ["mark"], ["WORD"])
