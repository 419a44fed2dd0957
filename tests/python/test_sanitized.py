# SPDX-License-Identifier: Apache-2.0
"""tests/sanitized: what a sanitizer reports fails the run, wherever it is reported."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT

FOLDER = "reports"
RACE = """
#include <pthread.h>
#include <signal.h>
static int shared;
static void *add(void *arg) { shared++; return arg; }
int main(void)
{
	pthread_t thread;
	pthread_create(&thread, 0, add, 0);
	shared++;
	pthread_join(thread, 0);
	return raise(SIGKILL);
}
"""
LEAK = """
#include <stdlib.h>
static void *volatile lost;
int main(void) { lost = malloc(7); lost = 0; return 0; }
"""
USE_AFTER_FREE = """
#include <stdlib.h>
int main(void) { char *volatile gone = malloc(7); free(gone); return *gone; }
"""
OVERFLOW = """
#include <limits.h>
static volatile int most = INT_MAX;
int main(void) { most++; return 0; }
"""


def sanitized(folder: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / "tests" / "sanitized"), FOLDER, *command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_that_of_the_command(tmp_path: Path, status: int) -> None:
    done = sanitized(tmp_path, "sh", "-c", f"echo said; exit {status}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "said\n", "")


def test_reports_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    write = 'echo wrong > "${ASAN_OPTIONS##*log_path=}.usrbiod.1"'
    assert sanitized(tmp_path, "sh", "-c", write).returncode == 1
    assert sanitized(tmp_path, "true").returncode == 0


def test_options_that_were_there_are_kept(tmp_path: Path) -> None:
    done = sanitized(tmp_path, "sh", "-c", "echo $TSAN_OPTIONS", TSAN_OPTIONS="die_after_fork=0")
    assert done.stdout.startswith("die_after_fork=0:")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(
    ("sanitizer", "source", "said"),
    [
        pytest.param("thread", RACE, "WARNING: ThreadSanitizer: data race", id="race-of-one-that-is-killed"),
        pytest.param("address,undefined", LEAK, "ERROR: LeakSanitizer: detected memory leaks", id="leak"),
        pytest.param("address,undefined", USE_AFTER_FREE, "AddressSanitizer: heap-use-after-free", id="use-after-free"),
        pytest.param("address,undefined", OVERFLOW, "in __ubsan_handle_add_overflow", id="overflow"),
    ],
)
def test_a_report_of_a_process_that_nobody_asks_about(tmp_path: Path, sanitizer: str, source: str, said: str) -> None:
    (tmp_path / "wrong.c").write_text(source)
    compile_it = ["cc", "-g", f"-fsanitize={sanitizer}", "-o", "wrong", "wrong.c", "-pthread"]
    done = subprocess.run(compile_it, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the compiler has no such sanitizer: {done.stderr}")
    # No core file, and nothing of what this process may itself be run under.
    without = {name: "" for name in ("LD_PRELOAD", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")}
    done = sanitized(tmp_path, "sh", "-c", "./wrong 2>&1 >said; true", **without)
    if "unexpected memory mapping" in (tmp_path / "said").read_text():
        pytest.skip("this sanitizer cannot run with the addresses that this kernel gives")
    assert done.returncode == 1, done.stdout
    assert said in done.stdout
    assert "wrong." in done.stdout, "the program is named"
