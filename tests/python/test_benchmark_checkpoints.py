# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that the benchmark makes: the safetensors package reads them, and they are laid out as it would."""

import json
import math
import re
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List

import pytest
from checkpoints import FIRST_OF_EIGHT, MB, Shards, Spec, deepseek_r1, in_shards, mixed, write
from forked import Forked
from safetensors import safe_open

SMALL: Shards = [
    [Spec("b", "F32", (3,)), Spec("a.2", "F8_E4M3", (5,)), Spec("a.10", "F8_E4M3", (2, 2))],
    [Spec("c", "BF16", (7, 1))],
]


def header(path: Path) -> Dict[str, Dict[str, List[int]]]:
    with open(path, "rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def test_what_was_asked_for_is_in_the_files(tmp_path: Path) -> None:
    names = write(str(tmp_path), SMALL)
    assert names == ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"]
    for name, shard in zip(names, SMALL):
        with safe_open(tmp_path / name, "np") as file:
            parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no dict)
            held = {key: (part.get_dtype(), tuple(part.get_shape())) for key, part in parts.items()}
        assert held == {spec.name: (spec.dtype, spec.shape) for spec in shard}


def test_the_index_names_every_tensor(tmp_path: Path) -> None:
    names = write(str(tmp_path), SMALL)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {"b": names[0], "a.2": names[0], "a.10": names[0], "c": names[1]}
    assert index["metadata"]["total_size"] == 12 + 5 + 4 + 14


@pytest.mark.skipif(find_spec("fastsafetensors") is None, reason="not installed: fastsafetensors, and PyTorch with it")
def test_tensors_lie_as_the_package_would_write_them(consumer: Forked, tmp_path: Path) -> None:
    (name,) = write(str(tmp_path), SMALL[:1])
    answer = consumer.run("rewrite", path=str(tmp_path / name), to=str(tmp_path / "theirs"))
    assert answer.error == "", answer.log
    ours, theirs = header(tmp_path / name), header(tmp_path / "theirs")
    assert ours.pop("__metadata__") == {"format": "pt"}
    assert ours == theirs
    assert list(ours) == list(theirs) == ["b", "a.10", "a.2"]


def test_files_that_are_not_sparse_hold_random_bytes(tmp_path: Path) -> None:
    shards = [[Spec("a", "F32", (MB,))], [Spec("b", "F32", (MB,))]]
    first, second = ((tmp_path / name).read_bytes() for name in write(str(tmp_path), shards, sparse=False))
    assert len(first) == len(second) > 4 * MB
    assert first[-4 * MB :] != second[-4 * MB :]
    assert len(set(first[-MB:])) == 256


def test_shards_keep_the_order_and_share_the_bytes() -> None:
    specs = deepseek_r1(range(3, 5), 16)
    shards = in_shards(specs, 7)
    assert [spec for shard in shards for spec in shard] == specs
    sizes = [sum(spec.nbytes for spec in shard) for shard in shards]
    largest = max(spec.nbytes for spec in specs)
    assert max(sizes) - min(sizes) <= 2 * largest


def test_mixed_tensors_are_of_2_to_200_mb() -> None:
    sizes = {spec.nbytes // MB for shard in mixed(3, 2) for spec in shard}
    assert (min(sizes), max(sizes)) == (2, 200)
    names = [spec.name for shard in mixed(3, 2) for spec in shard]
    assert len(set(names)) == len(names)


def test_unshrunk_it_is_deepseek_r1() -> None:
    """Its 671 billion parameters, every matrix of FP8 with a scale for each block of 128 x 128."""
    specs = {spec.name: spec for spec in deepseek_r1(range(61), 1)}
    parameters = sum(math.prod(spec.shape) for spec in specs.values() if not spec.name.endswith("_scale_inv"))
    assert parameters == pytest.approx(671e9, rel=0.001)
    for spec in specs.values():
        if spec.dtype == "F8_E4M3":
            rows, columns = spec.shape
            assert specs[f"{spec.name}_scale_inv"].shape == (math.ceil(rows / 128), math.ceil(columns / 128))
    assert specs["model.layers.60.mlp.experts.255.down_proj.weight"].shape == (7168, 2048)


def test_the_first_rank_has_an_eighth_of_the_experts() -> None:
    names = [spec.name for spec in deepseek_r1(range(2, 4), 16)]
    chosen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in FIRST_OF_EIGHT)}
    numbers = {int(re.findall(r"experts\.(\d+)\.", name)[0]) for name in chosen}
    assert numbers == set(range(32))
    assert len(chosen) == 32 * 3 * 2
