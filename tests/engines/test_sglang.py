# SPDX-License-Identifier: Apache-2.0
"""What SGLang has of its own."""

import shutil
import subprocess

from conftest import Engine
from support import Mount
from test_engines import infos


def test_the_command_line_takes_the_flag(engine: Engine, mount: Mount) -> None:
    model = str(mount.path / "llama")
    without = engine.run("command_line", model=model, plugins=False)
    assert without.error == "SystemExit: 2"
    assert "invalid choice: '3fs'" in without.log
    assert engine.run("command_line", model=model, plugins=True).result == "3fs"


def test_ranks_that_sglang_says_are_alone(engine: Engine, mount: Mount) -> None:
    for answer in engine.load_ranks(mount.path / "llama", ranks=2, wishes={"alone": True}):
        assert "ranks" not in infos(answer)[0]


def test_the_bar_is_of_one_rank(engine: Engine, mount: Mount) -> None:
    first, second = engine.load_ranks(mount.path / "llama", ranks=2)
    assert first.lines("Loading tensors")
    assert not second.lines("Loading tensors")


def test_files_that_are_not_safetensors_are_an_error(engine: Engine, mount: Mount) -> None:
    model = mount.backing / f"pickled-{engine}"
    model.mkdir()
    shutil.copy(mount.backing / "llama" / "config.json", model)
    (model / "pytorch_model.bin").touch()
    answer = engine.load(mount.path / model.name)
    assert f"Cannot find any model weights with `{mount.path / model.name}`" in answer.error
    shutil.rmtree(model)


LAZY = """
import sys
from sglang.srt.plugins import load_plugins
load_plugins()
assert "sglang.srt.model_loader.loader" not in sys.modules, "it was imported for nothing"
from sglang.srt.arg_groups.choices import LOAD_FORMAT_CHOICES
print("3fs" in LOAD_FORMAT_CHOICES)
"""


def test_a_process_that_loads_no_model_imports_no_loaders(engine: Engine) -> None:
    code = LAZY if engine.environment == "newest" else LAZY.replace("arg_groups.choices", "server_args")
    ran = subprocess.run([engine.python, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "True"
