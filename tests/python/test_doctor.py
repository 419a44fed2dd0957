# SPDX-License-Identifier: Apache-2.0
"""fst3fs doctor, tried against what goes wrong on real nodes: it names each, says what to do, and never hangs."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import fst3fs
import pytest
from support import MIB, Mount, dropin, eventually, random_bytes

from fastsafetensor_3fs_reader.cli import child
from fastsafetensor_3fs_reader.cli.doctor import engines, library, machine
from fastsafetensor_3fs_reader.usrbiod import find_usrbiod

NAME = "libhf3fs_api_shared.so"


def namespace(script: str) -> List[str]:
    """Runs the rest of the command line in a mount namespace of its own, after a script."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh"]


REFUSAL = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False).stderr.strip()
in_a_namespace = pytest.mark.skipif(REFUSAL != "", reason=f"no mount namespace of one's own here: {REFUSAL}")
WITHOUT_3FS = namespace("umount --lazy --all --types fuse.hf3fs")


def compiled(source: str, target: Path) -> str:
    """A library of a few lines of C."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to build a library with")
    command = ["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-x", "c", "-", "-o", str(target)]
    subprocess.run(command, input=source, text=True, check=True)
    return str(target)


def examine(*arguments: str, status: int = 1, **kwargs: Any) -> Dict[str, Dict[str, str]]:
    """The doctor's lines by name, of those of one name the last."""
    page = fst3fs.result("doctor", *arguments, status=status, **kwargs)
    assert page["healthy"] == (status == 0)
    return {line["what"]: line for line in page["lines"]}


def expect(line: Dict[str, str], status: str, said: List[str], advice: List[str]) -> None:
    assert line["status"] == status, line
    for part in said:
        assert part in line["said"]
    for part in advice:
        assert part in line["advice"]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not below /dev/shm, which some namespaces hide."""
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture
def elsewhere(folder: Path) -> Iterator[Mount]:
    mount = Mount(folder / "backing", folder / "mnt")
    yield mount
    mount.stop()


# ------------------------------------------------------------------ all is well


def test_a_healthy_mount(mount: Mount) -> None:
    path = mount.write("model/a.safetensors", random_bytes(32 * MIB))
    found = examine(os.path.dirname(path), status=0)
    for what in ("3FS mount", "path", "daemon", "/dev/shm shared", "registration", "read", "backend", "USRBIO client"):
        assert found[what]["status"] == "ok", found[what]
    assert f"is on {mount.path}" in found["path"]["said"]
    for part in ("GB/s", "requests in flight", "ms", path):
        assert part in found["read"]["said"]
    # It was read, through USRBIO.
    assert mount.stats()["bytes"] >= 32 * MIB


def test_the_page_for_people(mount: Mount) -> None:
    mount.write("a", random_bytes(MIB))
    done = fst3fs.run("doctor", str(mount.path))
    assert (done.returncode, done.stderr) == (0, "")
    *page, verdict = done.stdout.splitlines()
    assert [line for line in page if line.startswith("look  read ")]
    # Which engines are installed here is one more thing, or is not.
    assert verdict == f"Nothing is wrong, {sum(line.startswith('look ') for line in page)} to look at."
    assert "\x1b" not in done.stdout


def test_every_mount_without_a_path(serve: Callable) -> None:
    mounts = [serve(), serve()]
    page = fst3fs.result("doctor", status=0)
    daemons = [line["said"] for line in page["lines"] if line["what"] == "daemon"]
    for mount in mounts:
        assert [said for said in daemons if f"of {mount.path} answers" in said]
        assert mount.stats()["violations"] == 0


def test_a_link_to_a_model(mount: Mount, scratch: Path) -> None:
    mount.write("model/a", random_bytes(16 * MIB))
    (scratch / "link").symlink_to(mount.path / "model")
    found = examine(str(scratch / "link"), status=0)
    assert f"({mount.path}/model) is on {mount.path}" in found["path"]["said"]


def test_an_empty_mount(mount: Mount) -> None:
    expect(examine(str(mount.path), status=0)["read"], "none", ["no file"], ["doctor PATH"])


# ------------------------------------------------------------------ mounts


@in_a_namespace
def test_no_mount() -> None:
    found = examine(under=WITHOUT_3FS)
    expect(found["3FS mount"], "bad", ["none"], ["mount 3FS", "docker run -v", "fst3fs serve"])
    assert "daemon" not in found


def test_a_path_elsewhere(mount: Mount, scratch: Path) -> None:
    found = examine(str(scratch))
    expect(found["path"], "bad", [str(scratch), "not on 3FS", "through the operating system"], [str(mount.path)])


def test_no_such_path(mount: Mount) -> None:
    found = examine(str(mount.path / "missing"))
    expect(found["path"], "bad", ["No such file", str(mount.path / "missing")], [])


def test_a_dead_daemon(mount: Mount) -> None:
    os.kill(mount.daemon.pid, signal.SIGKILL)
    assert eventually(lambda: mount.daemon.returncode is not None)
    for arguments in ((str(mount.path / "model"),), ()):
        page = fst3fs.result("doctor", *arguments, status=1)["lines"]
        (line,) = [x for x in page if x["what"] == "daemon" and str(mount.path) in x["said"]]
        expect(line, "bad", ["is gone", "not connected"], [f"umount -l {mount.path}"])


@contextmanager
def stopped(mount: Mount) -> Iterator[None]:
    os.kill(mount.daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(mount.daemon.pid, signal.SIGCONT)


@pytest.mark.parametrize("give_a_path", [True, False])
def test_a_hanging_daemon(serve: Callable, give_a_path: bool) -> None:
    mount: Mount = serve("--attr-timeout-s", "0")
    path = mount.write("model", random_bytes(MIB))
    with stopped(mount):
        page = fst3fs.result("doctor", *([path] if give_a_path else []), status=1)["lines"]
    (line,) = [x for x in page if x["what"] == "daemon" and str(mount.path) in x["said"]]
    expect(line, "bad", ["hangs", "no answer within 5 s"], ["hf3fs_fuse_main", f"umount -l {mount.path}"])


def test_a_daemon_that_hangs_when_it_is_asked_to_read(serve: Callable) -> None:
    mount: Mount = serve("--hang-every", "1")
    found = examine(mount.write("model", random_bytes(MIB)))
    assert found["registration"]["status"] == "ok"
    expect(found["read"], "bad", ["model", "hangs or is gone"], ["its log", "storage"])


@in_a_namespace
def test_a_subdirectory_that_is_bound_elsewhere(mount: Mount, scratch: Path) -> None:
    mount.write("models/a", random_bytes(16 * MIB))
    bound = scratch / "bound"
    bound.mkdir()
    bind = f"mount --bind '{mount.path}/models' '{bound}'"
    found = examine(str(bound / "a"), under=namespace(bind))
    expect(
        found["path"],
        "bad",
        [str(bound), "subdirectory /models of a 3FS"],
        ["3fs-virt", f"-v /mnt/3fs/3fs-virt:{bound}"],
    )
    # And it helps.
    (mount.backing / "models" / "3fs-virt").mkdir()
    found = examine(
        str(bound / "a"), status=0, under=namespace(f"{bind}\nmount --bind '{mount.path}/3fs-virt' '{bound}/3fs-virt'")
    )
    assert found["path"]["said"] == f"{bound}/a is on {bound}"
    assert found["read"]["status"] == "ok"


#: Another user mounts, in a namespace where any user may, and what is run after that unmounts again.
MOUNT_AS_ANOTHER = """
mknod "$1/fuse" c 10 229
chmod 666 "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
setpriv --reuid=65534 --regid=65534 --clear-groups "$2" "$1/backing" "$1/mnt"
folder=$1
shift 2
status=0
"$@" || status=$?
umount "$folder/mnt"
exit $status
"""


@in_a_namespace
def test_a_mount_of_another_user() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        for path in (folder / "backing", folder / "mnt"):
            path.mkdir()
            os.chown(path, 65534, 65534)
        under = ["unshare", "--mount", "sh", "-ec", MOUNT_AS_ANOTHER, "sh", name, find_usrbiod()]
        found = examine(str(folder / "mnt"), under=under)
    expect(found["access"], "bad", ["user 65534", f"user {os.geteuid()}"], ["allow_other"])


# ------------------------------------------------------------------ the machine


@in_a_namespace
def test_a_private_shm(elsewhere: Mount) -> None:
    path = elsewhere.write("model", random_bytes(MIB))
    found = examine(path, under=namespace("mount -t tmpfs -o size=1g none /dev/shm"))
    expect(found["/dev/shm shared"], "bad", ["not the daemon's", "sem."], ["--ipc=host", "hostIPC"])
    assert "registration" not in found


@in_a_namespace
def test_a_full_shm(elsewhere: Mount) -> None:
    full = "mount -t tmpfs -o size=4m none /dev/shm\nhead -c 4M /dev/zero >/dev/shm/x"
    found = examine(under=namespace(full))
    expect(found["/dev/shm size"], "bad", ["full", "0 of 4 MiB", "64 MiB"], ["--shm-size", "remount"])


@in_a_namespace
def test_a_small_shm() -> None:
    found = examine(under=[*WITHOUT_3FS, *namespace("mount -t tmpfs -o size=128m none /dev/shm")])
    expect(found["/dev/shm size"], "warn", ["128 of 128 MiB", "8 readers"], ["--shm-size"])


def test_no_locked_memory(mount: Mount) -> None:
    without = ["prlimit", "--memlock=0", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
    found = examine(mount.write("a", random_bytes(MIB)), status=0, under=without)
    expect(
        found["memlock"], "warn", ["limit 0 B", "cannot be page-locked", "GPU"], ["ulimit -l", "--ulimit memlock=-1"]
    )


MANY_FDS = 1 << 30
#: Says that the limit is that high, where nobody may set one.
LIMIT = """
#include <sys/resource.h>
int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit)
{
	int rc = prlimit64(0, resource, 0, limit);
	if (resource == RLIMIT_NOFILE)
		limit->rlim_max = 1 << 30;
	return rc;
}
"""


@contextmanager
def ceiling_of_fds(number: int) -> Iterator[bool]:
    """How high a limit of open files may be set on this machine; whether it may."""
    ceiling = Path("/proc/sys/fs/nr_open")
    before = ceiling.read_text(encoding="ascii")
    try:
        ceiling.write_text(str(max(number, int(before))), encoding="ascii")
        tried = subprocess.run(["prlimit", f"--nofile=20000:{number}", "true"], capture_output=True, check=False)
        yield tried.returncode == 0
    except OSError:
        yield False
    finally:
        with suppress(OSError):
            ceiling.write_text(before, encoding="ascii")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_billion_fds(mount: Mount, scratch: Path, wanted: bool) -> None:
    path = mount.write("a", random_bytes(MIB))
    variables = {"HF3FS_LIB_DIR": os.path.dirname(dropin())} if wanted else {}
    with ceiling_of_fds(MANY_FDS) as allowed:
        if not allowed:
            variables["LD_PRELOAD"] = compiled(LIMIT, scratch / "limit.so")
        under = ["prlimit", f"--nofile=20000:{MANY_FDS}"] if allowed else []
        found = examine(path, status=int(wanted), under=under, **variables)
    expect(
        found["open files"],
        "bad" if wanted else "warn",
        ["1,073,741,824", "8.6 GB", "official library"],
        ["nofile=1048576", "FST3FS_USRBIO=builtin"],
    )


def test_fds() -> None:
    assert machine.fd_line(1024, 1 << 20, True).status == "ok"
    assert machine.fd_line(100, 1 << 20, True).status == "warn"
    assert "without end" in machine.fd_line(1024, -1, True).said


@in_a_namespace
def test_a_pid_namespace(folder: Path) -> None:
    own = ["unshare", "--pid", "--fork", "--mount-proc", *WITHOUT_3FS]
    expect(examine(under=own)["pid namespace"], "warn", ["not the host's"], ["--pid=host", "hostPID"])


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FST3FS_TIMEOUT", "soon")
    line = {x.what: x for x in machine.lines(False)}["settings"]
    assert line.status == "bad"
    assert "FST3FS_TIMEOUT" in line.said
    assert not library.is_wanted()
    monkeypatch.setenv("FST3FS_TIMEOUT", "20")
    line = {x.what: x for x in machine.lines(False)}["settings"]
    assert (line.status, line.said) == ("ok", "FST3FS_TIMEOUT=20.0")


# ------------------------------------------------------------------ the official library


def broken(folder: Path, kind: str) -> str:
    """A folder with a library of the right name and wrong kind."""
    folder.mkdir()
    target = folder / NAME
    if kind == "crashes":
        source = "#include <signal.h>\n__attribute__((constructor)) static void f(void) { raise(SIGSEGV); }\n"
        command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
        subprocess.run(command, input=source, text=True, check=True)
    else:
        target.write_bytes(Path(dropin()).read_bytes()[:200])
    return str(folder)


@pytest.mark.parametrize(("kind", "why"), [("cut short", "cannot read file data"), ("crashes", "SIGSEGV")])
def test_a_broken_library_that_is_asked_for(mount: Mount, scratch: Path, kind: str, why: str) -> None:
    place = broken(scratch / "lib", kind)
    found = examine(mount.write("a", random_bytes(MIB)), HF3FS_LIB_DIR=place)
    expect(found["USRBIO client"], "bad", [place, why], ["HF3FS_LIB_DIR", "FST3FS_USRBIO=builtin"])


def test_a_broken_library_that_is_not_asked_for(mount: Mount, scratch: Path) -> None:
    (scratch / "lib").mkdir()
    (scratch / "lib" / NAME).write_bytes(b"")
    path = mount.write("a", random_bytes(MIB))
    found = examine(path, status=0, HF3FS_LIB_DIR=str(scratch / "lib"), FST3FS_USRBIO="builtin")
    expect(found["USRBIO client"], "warn", ["built-in", NAME, "empty"], ["remove it"])


def test_the_official_library(mount: Mount, sdk: str) -> None:
    found = examine(mount.write("a", random_bytes(MIB)), status=0)
    expect(found["USRBIO client"], "ok", ["the official library", sdk], [])


def test_a_backend_that_reads_no_3fs(mount: Mount) -> None:
    expect(examine(str(mount.path), FASTSAFETENSORS_BACKEND="mock")["backend"], "bad", ["mock"], ["unset"])


# ------------------------------------------------------------------ GPUs


def test_gpus(mount: Mount, fake_cuda: str) -> None:
    path = mount.write("a", random_bytes(MIB))
    libraries = os.path.dirname(fake_cuda)
    found = examine(path, status=0, LD_LIBRARY_PATH=libraries)
    expect(found["GPUs"], "ok", ["memory can be page-locked"], [])
    found = examine(
        path, status=0, LD_LIBRARY_PATH=libraries, FAKE_CUDA_FAIL="cuMemHostRegister_v2:1:CUDA_ERROR_OUT_OF_MEMORY"
    )
    expect(found["GPUs"], "warn", ["cuMemHostRegister_v2 gave CUDA_ERROR_OUT_OF_MEMORY"], ["memlock"])


def test_a_driver_that_does_not_work(mount: Mount, fake_cuda: str) -> None:
    path = mount.write("a", random_bytes(MIB))
    variables = {
        "LD_LIBRARY_PATH": os.path.dirname(fake_cuda),
        "FAKE_CUDA_FAIL": "cuDeviceGetCount:1:CUDA_ERROR_UNKNOWN",
    }
    expect(examine(path, **variables)["GPUs"], "bad", ["cuDeviceGetCount gave CUDA_ERROR_UNKNOWN"], ["nvidia-smi"])


# ------------------------------------------------------------------ engines


def install(site: Path, name: str, version: str, files: str = "", entry_points: str = "") -> None:
    """What pip leaves of a package, without the package."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(files)
    (info / "entry_points.txt").write_text(entry_points)


def engine_lines() -> Dict[str, Any]:
    return {line.what: line for line in engines.lines()}


@pytest.fixture
def site(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages are looked for, and nowhere else."""
    monkeypatch.setattr("sys.path", [str(scratch / "site")])
    monkeypatch.delenv("FASTSAFETENSORS_CONFIG", raising=False)
    return scratch / "site"


def test_no_engine(site: Path) -> None:
    assert engine_lines()["engines"].status == "none"


def test_fastsafetensors(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "fastsafetensors", "0.5.0", "fastsafetensors/threefs_loader.py,,\n")
    line = engine_lines()["fastsafetensors"]
    assert (line.status, "0.5.0" in line.said, "is not set" in line.said) == ("warn", True, True)
    config = site / "config.json"
    monkeypatch.setenv("FASTSAFETENSORS_CONFIG", str(config))
    for text, status in (('{"loader": "3fs"}', "ok"), ('{"loader": "base"}', "warn"), ("{", "bad"), ("[]", "warn")):
        config.write_text(text)
        assert engine_lines()["fastsafetensors"].status == status, text


def test_a_fastsafetensors_that_knows_no_3fs(site: Path) -> None:
    install(site, "fastsafetensors", "0.2.2", "fastsafetensors/loader.py,,\n")
    line = engine_lines()["fastsafetensors"]
    assert (line.status, line.advice) == ("warn", "pip install 'fastsafetensors>=0.3.3'")


@pytest.mark.parametrize(("engine", "group"), engines.PLUGINS.items())
def test_an_engine_with_plugins(site: Path, engine: str, group: str) -> None:
    install(site, engine, "9.9")
    assert engine_lines()[engine].status == "warn"
    install(site, "other", "1", entry_points=f"[{group}]\nx = other:f\n")
    assert engine_lines()[engine].status == "warn"
    install(site, "ours", "1", entry_points=f"[{group}]\nfst3fs = fastsafetensor_3fs_reader.plugin:register\n")
    said = "9.9, by the plugin fst3fs, for --load-format 3fs"
    assert (engine_lines()[engine].status, engine_lines()[engine].said) == ("ok", said)


def test_a_plugin_that_vllm_may_not_load(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "vllm", "9.9")
    entry = "[vllm.general_plugins]\n3fs = fastsafetensor_3fs_reader.engines.vllm:register\n"
    install(site, "ours", "1", entry_points=entry)
    for allowed, status in (("", "ok"), ("a,3fs", "ok"), ("a", "warn")):
        monkeypatch.setenv("VLLM_PLUGINS", allowed)
        assert engine_lines()["vllm"].status == status, allowed


# ------------------------------------------------------------------ what may hang or crash is in a child


def falls_silent(report: Callable, file: str) -> None:
    report("first", pid=os.getpid())
    report("second")
    time.sleep(1000)


def crashes(report: Callable) -> None:
    report("first")
    print("words of a library")
    raise RuntimeError("that was it")


def test_a_child_that_falls_silent() -> None:
    outcome = child.run(falls_silent, "x", silence_s=2)
    assert (outcome.hung, outcome.lost_at, outcome.why) == (True, "second", "no answer within 2 s")
    pid = outcome.found["first"]["pid"]
    assert eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_a_child_that_crashes() -> None:
    outcome = child.run(crashes, silence_s=20)
    assert (outcome.hung, outcome.lost_at, outcome.found) == (False, "first", {})
    assert outcome.why == "it ended with status 1: RuntimeError: that was it"


def test_the_doctor_itself_touches_no_mount(serve: Callable) -> None:
    """What hangs is the child: the doctor ends, though its child cannot."""
    mount: Mount = serve("--attr-timeout-s", "0")
    with stopped(mount):
        start = time.monotonic()
        done = fst3fs.run("doctor", str(mount.path), "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)
        assert time.monotonic() - start < 60
