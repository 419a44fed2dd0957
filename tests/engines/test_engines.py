# SPDX-License-Identifier: Apache-2.0
"""What --load-format 3fs does in each engine."""

import re
import shutil
from pathlib import Path
from typing import Any, Dict

import pytest
from checkpoints import write_llama
from conftest import Engine
from forked import Answer
from support import Mount, eventually


def infos(answer: Answer) -> Any:
    assert answer.error == "", answer.log
    return answer.result["infos"]


def digests(answer: Answer) -> Dict[str, str]:
    assert answer.error == "", answer.log
    assert answer.result["digests"], "nothing was loaded"
    return dict(answer.result["digests"])


def test_the_engine_finds_us_by_itself(engine: Engine) -> None:
    answer = engine.run("find", extra={})
    assert answer.error == "", answer.log
    before, after = answer.result
    assert "3fs" in before, "it knows a format of this name without us"
    assert after == {"vllm": "ThreeFSModelLoader", "sglang": "DefaultModelLoader"}[engine.name]


@pytest.mark.parametrize("model", ["llama", "moe", "awq"])
def test_a_model_of_the_engine_is_filled_as_ever(engine: Engine, mount: Mount, model: str) -> None:
    before = mount.stats()["bytes"]
    ours = engine.load(mount.path / model, environment={"FST3FS_REQUIRE": "usrbio"})
    (info,) = infos(ours)
    assert (info["transport"], info["bytes_posix"]) == ("usrbio", 0)
    assert mount.stats()["bytes"] - before >= info["bytes_wanted"] > 200_000
    assert digests(ours) == digests(engine.load(mount.backing / model, "auto"))


def test_one_line_at_the_end(engine: Engine, mount: Mount) -> None:
    (line,) = engine.load(mount.path / "moe").lines("GB/s")
    name = {"vllm": "vLLM", "sglang": "SGLang"}[engine.name]
    wanted = (
        rf"3fs: 0.01 GB from {mount.path}/moe in [0-9.]+ s, [0-9.]+ GB/s, transport=usrbio \(built-in\);"
        rf" [0-9.]+ s waiting for the link, [0-9.]+ s for {name}; 0.00 GB skipped"
    )
    assert re.search(wanted + "$", line), line


def test_ranks_share_the_reading(engine: Engine, mount: Mount) -> None:
    before = mount.stats()["bytes"]
    ours = engine.load_ranks(mount.path / "moe", ranks=2)
    theirs = engine.load_ranks(mount.backing / "moe", "auto", ranks=2)
    for rank, (our, their) in enumerate(zip(ours, theirs)):
        (info,) = infos(our)
        assert info["ranks"] == 2
        assert 0.49 < info["bytes_requested"] / info["bytes_wanted"] < 0.51
        assert digests(our) == digests(their)
        assert our.lines(f"rank {rank} of 2 read")
    assert mount.stats()["bytes"] - before < 1.1 * info["bytes_wanted"], "it was read more than once"


@pytest.mark.parametrize(("extra", "wishes"), [({"distributed": "off"}, {}), ({}, {"draft": True})])
def test_ranks_that_read_alone(engine: Engine, mount: Mount, extra: Dict[str, Any], wishes: Dict[str, Any]) -> None:
    """They were told to, or load a drafter, which other ranks may not load, or not at the same time."""
    for answer in engine.load_ranks(mount.path / "llama", ranks=2, extra=extra, wishes=wishes):
        (info,) = infos(answer)
        assert "ranks" not in info
        assert info["bytes_requested"] == info["bytes_wanted"]


def test_a_shard_that_the_index_does_not_name(engine: Engine, mount: Mount) -> None:
    model = mount.backing / f"consolidated-{engine}"
    write_llama(model)
    shutil.copy(model / "model-00002-of-00003.safetensors", model / "extra.safetensors")
    assert "extra.safetensors" not in (ours := engine.load(mount.path / model.name)).log
    assert digests(ours) == digests(engine.load(mount.backing / "llama", "auto"))
    shutil.rmtree(model)


def test_one_name_in_two_files(engine: Engine, mount: Mount) -> None:
    """Without an index engines take each file as it comes."""
    model = mount.backing / f"twice-{engine}"
    write_llama(model)
    (model / "model.safetensors.index.json").unlink()
    shutil.copy(model / "model-00002-of-00003.safetensors", model / "model-00004-of-00003.safetensors")
    ours = engine.load(mount.path / model.name)
    (line,) = ours.lines("reading file by file")
    assert "model-00004-of-00003.safetensors" in line
    assert digests(ours) == digests(engine.load(mount.backing / "llama", "auto"))
    shutil.rmtree(model)


def test_secondary_weights_and_prefixes(engine: Engine, mount: Mount) -> None:
    second = {"model_or_path": "", "revision": None, "prefix": "second."}
    results = []
    for root, load_format in ((mount.path, "3fs"), (mount.backing, "auto")):
        wishes = {"secondary": [{**second, "model_or_path": str(root / "moe")}]}
        results.append(digests(engine.load(root / "llama", load_format, wishes=wishes)))
    assert results[0] == results[1]
    assert any(name.startswith("second.model.layers.1.mlp.experts.15.") for name in results[0])


def test_a_model_that_is_not_on_3fs(engine: Engine, mount: Mount) -> None:
    ours = engine.load(mount.backing / "llama")
    (line,) = ours.lines("is not on 3FS")
    assert str(mount.backing / "llama") in line
    assert "WARNING" in line
    assert "transport=posix" in ours.lines("GB/s")[0]
    assert digests(ours) == digests(engine.load(mount.backing / "llama", "auto"))


@pytest.mark.parametrize("where", ["extra", "environment"])
def test_a_model_that_is_to_be_on_3fs_and_is_not(engine: Engine, mount: Mount, where: str) -> None:
    wish: Dict[str, Any] = {
        "extra": {"extra": {"require": "usrbio"}},
        "environment": {"environment": {"FST3FS_REQUIRE": "usrbio"}},
    }
    answer = engine.load(mount.backing / "llama", **wish[where])
    assert re.search(rf"OSError: .*not on 3FS.* ruled out: '{mount.backing}/llama/model-0000", answer.error)
    assert not answer.lines("read through the operating system")


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        (
            {"bufer_size": 1, "timeout": 5, "enable_gds": True},
            "has 'bufer_size', 'enable_gds'; it may have buffer_size, ",
        ),
        ({"buffer_size": "64M"}, "buffer_size must be a number of bytes, not '64M'"),
        ({"buffer_size": True}, "buffer_size must be a number of bytes, not True"),
        ({"distributed": True}, "distributed must be 'auto', 'on' or 'off', not True"),
        ({"timeout": "soon"}, "timeout must be "),
        ({"require": "speed"}, "require must be "),
    ],
)
def test_wrong_options(engine: Engine, extra: Dict[str, Any], complaint: str) -> None:
    _, error = engine.run("find", extra=extra).result
    assert "model_loader_extra_config for load format '3fs'" in error
    assert complaint in error


def test_options_are_honoured(engine: Engine, mount: Mount) -> None:
    answer = engine.load(mount.path / "llama", extra={"buffer_size": 3 << 20, "timeout": 7.5, "require": "usrbio"})
    assert "buffer=3145728" in answer.lines("transport=usrbio client=")[0]


def test_a_daemon_that_dies(engine: Engine, mount: Mount, tmp_path: Path) -> None:
    """In mid-load: an error that names the file."""
    dying = Mount(mount.backing, tmp_path / "mnt", "--bandwidth-mbps", "2")
    try:
        engine.ask_load(dying.path / "moe", extra={"timeout": 5, "require": "usrbio"})
        assert eventually(lambda: dying.stats()["bytes"] > 2_000_000, 60)
        dying.kill()
        (answer,) = engine.answers()
    finally:
        dying.stop()
    assert answer.result is None
    assert re.search(rf"(OSError|TimeoutError).*{dying.path}/moe/model-0000[1-3]-of-00003.safetensors", answer.error)
    assert not answer.lines("GB/s")


def test_an_engine_that_has_changed(engine: Engine) -> None:
    """It goes on without us, and who wants us is told what was missed, of which version."""
    missing = {"vllm": "safetensors_weights_iterator", "sglang": "fastsafetensors_weights_iterator"}[engine.name]
    answer = engine.run("unfit", missing=missing)
    assert answer.error == "", answer.log
    assert answer.result[0] == "DefaultModelLoader"
    said = f"--load-format 3fs does not fit {engine.name} {engine.version}: "
    text = answer.log if engine.name == "vllm" else answer.result[1]
    assert re.search(re.escape(said) + f".*{missing}", text)
