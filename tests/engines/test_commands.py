# SPDX-License-Identifier: Apache-2.0
"""The two commands of docs/integrations.md, typed as a user would, with the newest engines."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

import pytest
from conftest import ENVIRONMENTS
from support import Mount

NEWEST = ENVIRONMENTS["newest"]
#: An engine takes a minute to start, and much longer beside others.
PATIENCE = 500


def inherited() -> Dict[str, str]:
    """This process's environment; but each of a server's processes is not to compile all of an engine anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Command:
    """A server, and what it has said so far; it and its children end with the block."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        self._log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(NEWEST / "bin" / words[0]), *words[1:], "--port", str(self._port)],
                env={**inherited(), "OMP_NUM_THREADS": "1", "FST3FS_REQUIRE": "usrbio", **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, pattern: str, times: int = 1) -> List[str]:
        """The lines, once there are so many of them."""

        def lines() -> List[str]:
            return [line for line in self.log.splitlines() if re.search(pattern, line)]

        deadline = time.monotonic() + PATIENCE
        while len(lines()) < times and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        assert len(lines()) >= times, self.log
        return lines()

    def post(self, path: str, **body: Any) -> Dict[str, Any]:
        url, headers = f"http://127.0.0.1:{self._port}/{path}", {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=PATIENCE
        ) as answer:
            return dict(json.load(answer))


def line(model: Path, engine: str) -> str:
    """Of the log, at the end of a load."""
    return rf"3fs: [0-9.]+ GB from {model} in .* transport=usrbio \(built-in\); .* s for {engine}; 0\.00 GB skipped"


@pytest.mark.timeout(2 * PATIENCE)
def test_vllm_serve(mount: Mount, tmp_path: Path) -> None:
    """As far as its weights: on a CPU it serves with vLLM's build for that alone."""
    model = mount.path / "llama"
    words = ["vllm", "serve", str(model), "--load-format", "3fs", "--skip-tokenizer-init", "--enforce-eager"]
    with Command(tmp_path, *words, VLLM_CACHE_ROOT=str(NEWEST / "cache")) as command:
        command.says(line(model, "vLLM"))


@pytest.mark.timeout(2 * PATIENCE)
def test_sglang_launch_server(mount: Mount, tmp_path: Path) -> None:
    """As far as answers, which are the same after the weights have been read once more."""
    model = mount.path / "llama"
    words = ["python", "-m", "sglang.launch_server", "--model-path", str(model), "--load-format", "3fs"]
    small = ["--skip-tokenizer-init", "--device", "cpu", "--max-total-tokens", "512"]
    with Command(tmp_path, *words, *small) as command:
        command.says(line(model, "SGLang"))
        command.says("ready to roll")
        asked = {"input_ids": [1, 2, 3], "sampling_params": {"max_new_tokens": 8, "temperature": 0}}
        before = command.post("generate", **asked)["output_ids"]
        assert command.post("update_weights_from_disk", model_path=str(model))["success"]
        command.says(line(model, "SGLang"), times=2)
        assert command.post("generate", **asked)["output_ids"] == before
