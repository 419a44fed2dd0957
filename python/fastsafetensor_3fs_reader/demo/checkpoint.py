# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint as real ones are laid out, and finds the shards of one."""

import json
import os
from typing import Callable, Dict, List, NamedTuple, Tuple

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

INDEX = "model.safetensors.index.json"
GIB = 1 << 30
SHARDS = 5
SEED = 20260

Tensors = Dict[str, np.ndarray]


class Layer(NamedTuple):
    """One tensor of every decoder layer; the shape is in units of the hidden size unless it is None."""

    name: str
    dtype: type
    shape: Tuple[float, ...]


#: As in a mixture of published models: BF16 attention, F8 experts with F32 scales, F16 and integer odds and ends.
LAYERS = (
    Layer("input_layernorm.weight", ml_dtypes.bfloat16, (1,)),
    Layer("self_attn.q_proj.weight", ml_dtypes.bfloat16, (1, 1)),
    Layer("self_attn.kv_a_proj.weight", ml_dtypes.bfloat16, (0.28125, 1)),
    Layer("self_attn.o_proj.weight", np.float16, (1, 1)),
    Layer("mlp.gate_proj.weight", ml_dtypes.float8_e4m3fn, (2.6875, 1)),
    Layer("mlp.up_proj.weight", ml_dtypes.float8_e4m3fn, (2.6875, 1)),
    Layer("mlp.down_proj.weight", ml_dtypes.float8_e5m2, (1, 2.6875)),
    Layer("mlp.weight_scale_inv", np.float32, (0.0078125, 0.0078125)),
    Layer("mlp.gate.e_score_correction_bias", np.float32, (0.0625,)),
)
HIDDEN = 1024
EMBEDDING = (16384, HIDDEN)
EMBEDDING_BYTES = 2 * EMBEDDING[0] * EMBEDDING[1]
LAYER_BYTES = sum(
    np.dtype(layer.dtype).itemsize * int(np.prod([int(d * HIDDEN) for d in layer.shape])) for layer in LAYERS
)


def _odds_and_ends() -> Dict[str, Tuple[type, Tuple[int, ...]]]:
    """Whatever else occurs in real files: every other type, an empty tensor, a scalar, odd sizes."""
    return {
        "model.norm.weight": (ml_dtypes.bfloat16, (HIDDEN,)),
        "model.rotary_emb.inv_freq": (np.float64, (63,)),
        "model.position_ids": (np.int64, (1, 4096)),
        "model.expert_map": (np.int32, (7, 11, 13)),
        "model.token_types": (np.int16, (129,)),
        "model.zero_points": (np.int8, (255, 3)),
        "model.packed_weight": (np.uint8, (333, 77)),
        "model.attention_mask": (np.bool_, (17, 19)),
        "model.empty": (np.float32, (0, 128)),
        "model.logit_scale": (np.float32, ()),
    }


def _random(rng: np.random.Generator, dtype: type, shape: Tuple[int, ...]) -> np.ndarray:
    """Random bits, so that a byte out of place shows."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = rng.integers(0, 256, size, dtype=np.uint8)
    if dtype is np.bool_:
        raw &= 1
    return raw.view(dtype).reshape(shape)


def _layer(rng: np.random.Generator, number: int) -> Tensors:
    return {
        f"model.layers.{number}.{layer.name}": _random(rng, layer.dtype, tuple(int(d * HIDDEN) for d in layer.shape))
        for layer in LAYERS
    }


def _shard_tensors(rng: np.random.Generator, shard: int, layers: int) -> Tensors:
    tensors: Tensors = {}
    if shard == 0:
        tensors["model.embed_tokens.weight"] = _random(rng, ml_dtypes.bfloat16, EMBEDDING)
    for number in range(shard * layers, (shard + 1) * layers):
        tensors.update(_layer(rng, number))
    if shard == SHARDS - 1:
        for name, (dtype, shape) in _odds_and_ends().items():
            tensors[name] = _random(rng, dtype, shape)
    return tensors


def write_checkpoint(folder: str, total_bytes: int, progress: Callable[[int], None]) -> None:
    """About ``total_bytes`` in several shards, with their index. One shard at a time is in memory."""
    rng = np.random.default_rng(SEED)
    layers = max(1, round((total_bytes - EMBEDDING_BYTES) / SHARDS / LAYER_BYTES))
    weight_map: Dict[str, str] = {}
    size = 0
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        tensors = _shard_tensors(rng, shard, layers)
        save_file(tensors, os.path.join(folder, name), metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, name))
        written = sum(t.nbytes for t in tensors.values())
        size += written
        progress(written)
    with open(os.path.join(folder, INDEX), "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": size}, "weight_map": weight_map}, file, indent=2)


def find_shards(folder: str) -> List[str]:
    """File names of a checkpoint's shards: those of its index, else every .safetensors file."""
    try:
        with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
            names = set(json.load(file)["weight_map"].values())
    except FileNotFoundError:
        names = {name for name in os.listdir(folder) if name.endswith(".safetensors")}
    except (ValueError, KeyError, AttributeError, TypeError) as e:
        raise ValueError(f"{os.path.join(folder, INDEX)}: not an index of shards: {e!r}") from e
    if not names:
        raise FileNotFoundError(f"{folder}: no .safetensors file is in there")
    return sorted(names)
