# SPDX-License-Identifier: Apache-2.0
"""What vLLM has of its own."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from checkpoints import EXPERT_ROWS, EXPERTS, HIDDEN, LAYERS
from conftest import Engine
from forked import Answer
from support import Mount
from test_engines import digests, infos

EP: Dict[str, Any] = {"enable_expert_parallel": True, "enable_ep_weight_filter": True}
RANKS = 8


def test_experts_of_other_ranks_are_not_read(engine: Engine, mount: Mount) -> None:
    before = mount.stats()["bytes"]
    ours = engine.load_ranks(mount.path / "moe", ranks=RANKS, **EP)
    read = mount.stats()["bytes"] - before
    theirs = engine.load_ranks(mount.backing / "moe", "auto", ranks=RANKS, **EP)
    expert_bytes = 3 * EXPERT_ROWS * HIDDEN * 4
    for our, their in zip(ours, theirs):
        (info,) = infos(our)
        assert info["transport"] == "usrbio"
        assert info["bytes_skipped"] == LAYERS * (EXPERTS - EXPERTS // RANKS) * expert_bytes
        assert info["bytes_requested"] <= 1.02 * info["bytes_wanted"]
        assert "ranks" not in info, "ranks that want different tensors cannot share"
        assert digests(our) == digests(their)
    assert read <= sum(1.1 * infos(our)[0]["bytes_requested"] for our in ours)


def test_ranks_with_experts_of_their_own_cannot_be_told_to_share(engine: Engine, mount: Mount) -> None:
    for answer in engine.load_ranks(mount.path / "moe", ranks=2, extra={"distributed": "on"}, **EP):
        assert "distributed='on'" in answer.error
        assert "experts" in answer.error


def test_experts_that_everybody_needs_are_shared(engine: Engine, mount: Mount) -> None:
    """Expert parallelism without the filter: vLLM drops what a rank does not need."""
    ours = engine.load_ranks(mount.path / "moe", ranks=2, extra={"distributed": "on"}, enable_expert_parallel=True)
    theirs = engine.load_ranks(mount.backing / "moe", "auto", ranks=2, enable_expert_parallel=True)
    for our, their in zip(ours, theirs):
        assert infos(our)[0]["ranks"] == 2
        assert digests(our) == digests(their)


def test_a_subfolder(engine: Engine, mount: Mount) -> None:
    results = []
    for root, load_format in ((mount.path, "3fs"), (mount.backing, "auto")):
        source = {"model_or_path": str(root), "revision": None, "subfolder": "moe", "prefix": "second."}
        results.append(digests(engine.load(root / "llama", load_format, wishes={"secondary": [source]})))
    assert results[0] == results[1]
    assert "second.lm_head.weight" in results[0]


@pytest.mark.parametrize("wishes", [{"unused": "model.layers.1."}, {"language_model": ["model.layers.1"]}])
def test_shards_that_vllm_leaves_out(engine: Engine, mount: Mount, wishes: Dict[str, Any]) -> None:
    if engine.environment == "older":
        pytest.skip("vLLM 0.21 leaves none out")
    ours = engine.load(mount.path / "llama", wishes=wishes)
    assert digests(ours) == digests(engine.load(mount.backing / "llama", "auto", wishes=wishes))
    assert not [name for name in digests(ours) if name.startswith("model.layers.1.")]
    assert infos(ours)[0]["bytes_skipped"] == 0, "the shard was opened"


def test_missing_weights_are_noticed_as_ever(engine: Engine, mount: Mount) -> None:
    index = json.loads((mount.backing / "llama" / "model.safetensors.index.json").read_text())
    lacking = mount.backing / f"lacking-{engine}"
    lacking.mkdir()
    for name in sorted({*index["weight_map"].values(), "config.json"})[:-1]:
        (lacking / name).symlink_to(mount.backing / "llama" / name)
    errors = [
        engine.load(root / lacking.name, load_format).error
        for root, load_format in ((mount.path, "3fs"), (mount.backing, "auto"))
    ]
    assert "not initialized" in errors[0]
    assert sorted(errors[0]) == sorted(errors[1])
    assert engine.load(mount.path / lacking.name, extra={"enable_weights_track": False}).error == ""


def test_the_bar_is_vllms_to_switch_off(engine: Engine, mount: Mount) -> None:
    for wanted in (True, False):
        answer = engine.load(mount.path / "llama", loading={"use_tqdm_on_load": wanted})
        assert bool(answer.lines("Loading tensors")) is wanted, answer.log


def test_weights_are_read_again(engine: Engine, mount: Mount) -> None:
    """As vLLM does for a model that has been serving."""
    ours = engine.load_ranks(mount.path / "llama", ranks=2, again=True)
    theirs = engine.load_ranks(mount.backing / "llama", "auto", ranks=2)
    for our, their in zip(ours, theirs):
        assert [info["ranks"] for info in infos(our)] == [2, 2]
        assert digests(our) == digests(their)


def test_files_that_are_not_safetensors_are_vllms(engine: Engine, mount: Mount) -> None:
    name = f"pickled-{engine}"
    assert engine.run("pickle", model=str(mount.backing / "llama"), to=str(mount.backing / name)).error == ""
    ours = engine.load(mount.path / name)
    (line,) = ours.lines("this is read by vLLM itself, not through USRBIO")
    assert f"{mount.path / name} has no safetensors files" in line
    assert digests(ours) == digests(engine.load(mount.backing / "llama", "auto"))
    answer = engine.load(mount.path / name, extra={"require": "usrbio"})
    assert "has no safetensors files: this is read by vLLM itself" in answer.error
    shutil.rmtree(mount.backing / name)


def test_ways_of_loading_that_are_not_ours(engine: Engine, mount: Mount) -> None:
    eager = engine.load(mount.path / "llama", loading={"safetensors_load_strategy": "eager"})
    assert eager.lines("safetensors_load_strategy=eager means nothing to load format 3fs")
    assert infos(eager)[0]["transport"] == "usrbio"
    torchao = {"safetensors_load_strategy": "torchao"}
    answer = engine.load(mount.path / "llama", loading=torchao, extra={"require": "usrbio"})
    assert "torchao's tensors are put together by vLLM: this is read by vLLM itself" in answer.error


def test_tables_that_are_to_stay_in_host_memory_do_not_go_through_a_gpu(engine: Engine, mount: Mount) -> None:
    """A process with a GPU would load to it, which on this machine is an error."""
    assert "0 CUDA devices" in engine.load(mount.path / "llama", wishes={"tables_in_host_memory": False}).error
    ours = engine.load(mount.path / "llama", wishes={"tables_in_host_memory": True})
    assert "model.norm.weight" in digests(ours)


def test_fastsafetensors_with_our_copier_and_a_budget(engine: Engine, mount: Mount, scratch: Path) -> None:
    """vLLM's own load format of that name, unchanged but for the keyword that it is to pass."""
    if engine.environment == "older":
        pytest.skip("vLLM 0.21 does not use fastsafetensors' ParallelLoader")
    model, before = mount.path / "moe", mount.stats()["bytes"]
    size = sum(shard.stat().st_size for shard in (mount.backing / "moe").glob("*.safetensors"))
    budget, environment = size + size // 4, {"FST3FS_REQUIRE": "usrbio"}

    def load(budget: int, store: str) -> Answer:
        where = str(scratch / f"store-{engine}-{store}")
        return engine.run("load_fastsafetensors", model=str(model), store=where, budget=budget, environment=environment)

    ours = load(budget, "enough")
    assert digests(ours) == digests(engine.load(mount.backing / "moe", "auto"))
    assert ours.result["peak"] <= budget
    assert 0.99 * size < mount.stats()["bytes"] - before < 1.02 * size
    assert load(size // 2, "too-small").error.startswith("BudgetInfeasibleError")


LAZY = """
import sys
from vllm.plugins import load_general_plugins
load_general_plugins()
LOADERS = "vllm.model_executor.model_loader"
assert LOADERS not in sys.modules, "they were imported for nothing"
assert "torch" in sys.modules or "fastsafetensor_3fs_reader.torch" not in sys.modules
from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER as loaders
print(loaders["3fs"].__name__)
"""


def test_a_process_that_loads_no_model_imports_no_loaders(engine: Engine) -> None:
    output: List[str] = subprocess.run(
        [engine.python, "-I", "-c", LAZY], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert output[-1] == "ThreeFSModelLoader"
