# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole, and the commands info, serve and demo."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fst3fs
import pytest
from support import MIB, Mount, eventually, python, random_bytes

from fastsafetensor_3fs_reader import __version__
from fastsafetensor_3fs_reader.cli import COMMANDS, build_parser, main, name_of
from fastsafetensor_3fs_reader.usrbiod import is_mounted

# ------------------------------------------------------------------ as a whole


def test_version() -> None:
    assert fst3fs.run("--version").stdout == f"{__version__}\n"


def test_as_a_module_at_the_top_of_a_clone() -> None:
    """Python looks for modules there first."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "fastsafetensor_3fs_reader", "--version"]
    done = subprocess.run(command, cwd=fst3fs.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--model", "a", "--mount", "b"], ["ls"]])
def test_wrong_use(arguments: list) -> None:
    done = fst3fs.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: fst3fs" in done.stderr


@pytest.mark.parametrize("module", COMMANDS, ids=name_of)
def test_help_says_what_the_exit_codes_mean(module: Any, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args([name_of(module), "--help"])
    shown = capsys.readouterr().out
    assert "exit codes: 0 all well" in shown
    assert ("--json" in shown) == module.HAS_JSON


def into_a_pipe_that_nobody_reads(*arguments: str) -> "subprocess.CompletedProcess[str]":
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-I", fst3fs.TOOL, *arguments]
        return subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)


@pytest.mark.parametrize("command", ["info", "ls", "check", "doctor", "cat"])
def test_a_broken_pipe(mount: Mount, command: str) -> None:
    path = mount.write("a.safetensors", fst3fs.small_checkpoint())
    arguments = ["a"] if command == "cat" else []
    done = into_a_pipe_that_nobody_reads(command, path, *arguments)
    assert (done.returncode, done.stderr.replace("fst3fs: 2 tensors of 28 B in 1 files\n", "")) == (141, "")


def test_a_full_disk(mount: Mount) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-I", fst3fs.TOOL, "info"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "fst3fs: [Errno 28] No space left on device\n")


def test_no_standard_output(scratch: Path) -> None:
    (scratch / "a").write_bytes(fst3fs.small_checkpoint())
    command = ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-I", fst3fs.TOOL]
    for arguments, status in ((["info"], 0), (["cat", str(scratch / "a"), "a"], 3)):
        done = subprocess.run([*command, *arguments], stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


def test_an_interrupted_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastsafetensor_3fs_reader.cli.info._facts", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "fst3fs: interrupted\n"


# ------------------------------------------------------------------ info


def test_info() -> None:
    facts = fst3fs.result("info")
    assert (facts["version"], facts["backend"], facts["settings"]["FST3FS_TIMEOUT"]) == (__version__, "c", 90.0)
    assert re.search(r"^FST3FS_REQUIRE +-$", fst3fs.run("info").stdout, re.MULTILINE)


def test_info_of_a_path_on_3fs(mount: Mount) -> None:
    reader = fst3fs.result("info", mount.write("m", random_bytes(10)))["reader"]
    assert (reader["transport"], reader["client"], reader["why_not"]) == ("usrbio", "built-in", "")
    assert reader["mount_point"] == str(mount.path)


def test_info_of_a_path_elsewhere(scratch: Path) -> None:
    reader = fst3fs.result("info", str(scratch))["reader"]
    assert (reader["transport"], reader["mount_point"]) == ("posix", "")
    assert reader["why_not"]


def test_info_of_no_path(scratch: Path) -> None:
    done = fst3fs.run("info", str(scratch / "missing"))
    assert (done.returncode, done.stdout) == (3, "")
    assert str(scratch / "missing") in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------ serve


@pytest.fixture
def folders(scratch: Path) -> Path:
    for name in ("backing", "mnt"):
        (scratch / name).mkdir()
    return scratch


def served(folders: Path, *options: str) -> "subprocess.Popen[str]":
    process = python(fst3fs.TOOL, "serve", "--json", str(folders / "backing"), str(folders / "mnt"), *options)
    assert eventually(lambda: is_mounted(str(folders / "mnt")))
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(folders: Path, number: int) -> None:
    process = served(folders, "--cluster", "of-a-test")
    (folders / "backing" / "m").write_bytes(random_bytes(MIB))
    assert fst3fs.result("info", str(folders / "mnt" / "m"))["reader"]["transport"] == "usrbio"
    assert "hf3fs.of-a-test" in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    # Its note comes when it is ready for a signal.
    assert "serving at" in process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "fst3fs: ended\n")
    stats = fst3fs.parsed("serve", out)
    assert (stats["iovs"], stats["violations"]) == (0, 0)
    assert not is_mounted(str(folders / "mnt"))


def test_serve_until_it_is_unmounted(folders: Path) -> None:
    process = served(folders)
    subprocess.run(["umount", str(folders / "mnt")], check=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.splitlines()[-1] == "fst3fs: ended: it was unmounted"
    assert fst3fs.parsed("serve", out)["requests"] == 0


def test_serve_says_what_it_did(folders: Path) -> None:
    process = python(fst3fs.TOOL, "serve", str(folders / "backing"), str(folders / "mnt"))
    assert "serving at" in process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert re.search(r"^requests +0$", out, re.MULTILINE)
    assert re.search(r"^in_flight +now 0, max 0, average 0.0$", out, re.MULTILINE)


def test_serve_what_cannot_be(folders: Path) -> None:
    done = fst3fs.run("serve", str(folders / "missing"), str(folders / "mnt"))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{folders}/missing: No such file" in done.stderr


# ------------------------------------------------------------------ demo


def test_demo_for_programs(scratch: Path) -> None:
    pytest.importorskip("rich")
    result = fst3fs.result("demo", "--size-gb", "0.05", TMPDIR=str(scratch))
    assert {shard["transport"] for shard in result["shards"]} == {"usrbio"}
    assert result["identical"] > 50


def test_demo_without_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "fastsafetensor_3fs_reader.demo.run", None)
    assert main(["demo"]) == 3
    assert "pip install 'fastsafetensor-3fs-reader[demo]'" in capsys.readouterr().err
