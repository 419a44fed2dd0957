# SPDX-License-Identifier: Apache-2.0
"""Reads into GPU memory, over a CUDA driver without a GPU (tests/fakes/cuda): each case in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from support import Mount

HERE = Path(__file__).parent
LEAVES_OBJECTS = ("gpu_that_hangs",)  # those of the hanging GPU, on purpose

CASES = (
    "bytes_are_equal",
    "host_memory_between_guards",
    "comes_after_what_is_queued",
    "page_locking_refused",
    "several_gpus_and_readers",
    "one_batch_to_gpus_and_host",
    "host_reads_touch_no_gpu",
    "address_that_the_driver_cannot_judge",
    "gpu_that_hangs",
    "python_backend",
    "python_backend_failures_are_told",
)

FAILURES = (
    "cuPointerGetAttributes:1:CUDA_ERROR_UNKNOWN",
    "cuDevicePrimaryCtxRetain:3:CUDA_ERROR_OUT_OF_MEMORY",
    "cuStreamCreate:2:CUDA_ERROR_OUT_OF_MEMORY",
    "cuEventCreate:2:CUDA_ERROR_OUT_OF_MEMORY",
    "cuEventRecord:1:CUDA_ERROR_LAUNCH_FAILED",
    "cuEventRecord:3:CUDA_ERROR_ECC_UNCORRECTABLE",
    "cuStreamWaitEvent:2:CUDA_ERROR_LAUNCH_FAILED",
    "cuLaunchHostFunc:1:CUDA_ERROR_NOT_SUPPORTED",
    "cuMemcpyHtoDAsync_v2:1:CUDA_ERROR_INVALID_VALUE",
    "cuMemcpyHtoDAsync_v2:3:CUDA_ERROR_ILLEGAL_ADDRESS",
    "cuEventQuery:2:CUDA_ERROR_LAUNCH_TIMEOUT",
    "copy:1:CUDA_ERROR_ILLEGAL_ADDRESS",
    "copy:4:CUDA_ERROR_ECC_UNCORRECTABLE",
)


@pytest.fixture
def run_case(fake_cuda: str, mount: Mount) -> Callable[..., str]:
    def run(case: str, **environment: str) -> str:
        arguments = [str(HERE / "gpu_fake_cases.py"), case, fake_cuda, str(mount.path), str(mount.backing)]
        env = {**os.environ, "FAKE_CUDA_DELAY_US": "300", **environment}
        if case not in LEAVES_OBJECTS:
            env["FAKE_CUDA_STRICT"] = "1"
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("case", CASES)
def test_case(run_case: Callable[..., str], case: str) -> None:
    run_case(case)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_driver_call_is_a_runtime_error(run_case: Callable[..., str], failure: str) -> None:
    call, _, error = failure.split(":")
    output = run_case("failures_are_told", FAKE_CUDA_FAIL=failure)
    assert output.startswith("RuntimeError:"), "the read came through"
    assert error in output
    assert call.split("_")[0] in output or call == "copy"
