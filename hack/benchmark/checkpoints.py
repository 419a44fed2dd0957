# SPDX-License-Identifier: Apache-2.0
"""Checkpoints to load tensors from: many sizes in a few files, and the layout of DeepSeek-R1.

Written as the safetensors package lays files out. Sparse ones hold zeros and take no memory, so that a model of many GB
is made in a moment.
"""

import json
import math
import os
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from serve import SEED, fill

MB = 10**6
BITS = {"F32": 32, "BF16": 16, "F8_E4M3": 8}
#: The format's own writer sorts by type, wide ones first, then by name: all scales of a shard lie before its matrices.
ORDER = list(BITS)


class Spec(NamedTuple):
    """A tensor that is to be written."""

    name: str
    dtype: str
    shape: Tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * BITS[self.dtype] // 8


Shards = List[List[Spec]]


# ------------------------------------------------------------------ writing


def _header(specs: Iterable[Spec]) -> bytes:
    entries: Dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for spec in specs:
        entries[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [at, at + spec.nbytes]}
        at += spec.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    padded = text.ljust((len(text) + 7) // 8 * 8)
    return len(padded).to_bytes(8, "little") + padded


def write(folder: str, shards: Shards, *, sparse: bool = True) -> List[str]:
    """One safetensors file for each shard, and the index of them; the files' names."""
    names = [f"model-{number + 1:05}-of-{len(shards):06}.safetensors" for number in range(len(shards))]
    for number, (name, shard) in enumerate(zip(names, shards)):
        specs = sorted(shard, key=lambda spec: (ORDER.index(spec.dtype), spec.name))
        start, size = _header(specs), sum(spec.nbytes for spec in specs)
        with open(os.path.join(folder, name), "wb") as file:
            file.write(start)
            if sparse:
                file.truncate(len(start) + size)
            else:
                fill(file, size, SEED + number)
    weight_map = {spec.name: name for name, shard in zip(names, shards) for spec in shard}
    total = sum(spec.nbytes for shard in shards for spec in shard)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as index:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, index)
    return names


def in_shards(specs: Sequence[Spec], count: int) -> Shards:
    """In order, a shard beginning when the one before has its part of the bytes."""
    shards: Shards = [[] for _ in range(count)]
    total, done = sum(spec.nbytes for spec in specs), 0
    for spec in specs:
        shards[min(count - 1, done * count // total)].append(spec)
        done += spec.nbytes
    return shards


# ------------------------------------------------------------------ what there is


#: MB of the tensors of one layer of `mixed`.
SIZES = (200, 2, 50, 2, 20, 10, 5, 5, 2)


def mixed(files: int, layers: int = 1) -> Shards:
    """Tensors of 2 MB to 200 MB, ``layers`` times 296 MB in each file."""
    return [
        [
            Spec(f"model.layers.{file * layers + layer}.{place}.weight", "BF16", (size * MB // 2000, 1000))
            for layer in range(layers)
            for place, size in enumerate(SIZES)
        ]
        for file in range(files)
    ]


def _scaled(name: str, rows: int, columns: int) -> Iterator[Spec]:
    """A matrix of FP8, and a scale for each block of 128 x 128."""
    yield Spec(f"{name}.weight", "F8_E4M3", (rows, columns))
    yield Spec(f"{name}.weight_scale_inv", "F32", (-(-rows // 128), -(-columns // 128)))


def _gated(name: str, inner: int, hidden: int) -> Iterator[Spec]:
    yield from _scaled(f"{name}.gate_proj", inner, hidden)
    yield from _scaled(f"{name}.up_proj", inner, hidden)
    yield from _scaled(f"{name}.down_proj", hidden, inner)


EXPERTS = 256
DENSE_LAYERS = 3  # the first ones have no experts
LAYERS = 61


def _attention(name: str, hidden: int, shrink: int) -> Iterator[Spec]:
    yield from _scaled(f"{name}.q_a_proj", 1536 // shrink, hidden)
    yield Spec(f"{name}.q_a_layernorm.weight", "BF16", (1536 // shrink,))
    yield from _scaled(f"{name}.q_b_proj", 24576 // shrink, 1536 // shrink)
    yield from _scaled(f"{name}.kv_a_proj_with_mqa", 576 // shrink, hidden)
    yield Spec(f"{name}.kv_a_layernorm.weight", "BF16", (512 // shrink,))
    yield from _scaled(f"{name}.kv_b_proj", 32768 // shrink, 512 // shrink)
    yield from _scaled(f"{name}.o_proj", hidden, 16384 // shrink)


def _layer(number: int, hidden: int, shrink: int) -> Iterator[Spec]:
    name = f"model.layers.{number}"
    yield Spec(f"{name}.input_layernorm.weight", "BF16", (hidden,))
    yield from _attention(f"{name}.self_attn", hidden, shrink)
    yield Spec(f"{name}.post_attention_layernorm.weight", "BF16", (hidden,))
    if number < DENSE_LAYERS:
        yield from _gated(f"{name}.mlp", 18432 // shrink, hidden)
        return
    yield Spec(f"{name}.mlp.gate.weight", "BF16", (EXPERTS, hidden))
    yield Spec(f"{name}.mlp.gate.e_score_correction_bias", "F32", (EXPERTS,))
    yield from _gated(f"{name}.mlp.shared_experts", 2048 // shrink, hidden)
    for expert in range(EXPERTS):
        yield from _gated(f"{name}.mlp.experts.{expert}", 2048 // shrink, hidden)


def deepseek_r1(layers: Iterable[int], shrink: int) -> List[Spec]:
    """These layers of DeepSeek-R1 under the published names, every dimension of a matrix divided by ``shrink``."""
    hidden = 7168 // shrink
    vocabulary = (129280 // shrink, hidden)
    specs = [Spec("model.embed_tokens.weight", "BF16", vocabulary)]
    for number in layers:
        specs.extend(_layer(number, hidden, shrink))
    return [*specs, Spec("model.norm.weight", "BF16", (hidden,)), Spec("lm_head.weight", "BF16", vocabulary)]


#: Globs of the experts of the first rank of eight, 0 to 31.
FIRST_OF_EIGHT = ("*.mlp.experts.[0-9].*", "*.mlp.experts.[12][0-9].*", "*.mlp.experts.3[01].*")
