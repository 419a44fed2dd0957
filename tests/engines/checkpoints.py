# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of tiny models that the engines' own classes load, written without an engine."""

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from safetensors.numpy import save_file

Shapes = Dict[str, Tuple[int, ...]]

HIDDEN, HEADS, KV_HEADS, HEAD, VOCABULARY = 128, 8, 4, 16, 256
LAYERS, EXPERTS, EXPERT_ROWS, DENSE_ROWS = 2, 16, 192, 256
GROUP = 64

_CONFIG: Dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": DENSE_ROWS,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def write_llama(folder: Path) -> None:
    layers = [{**_attention(layer), **_mlp(f"model.layers.{layer}.mlp", DENSE_ROWS)} for layer in range(LAYERS)]
    _write(folder, layers, architectures=["LlamaForCausalLM"], model_type="llama", mlp_bias=False)


def write_qwen3_moe(folder: Path) -> None:
    """Its experts are large enough that reading over those of others does not pay."""
    layers = []
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        shapes: Shapes = {**_attention(layer), f"{prefix}.mlp.gate.weight": (EXPERTS, HIDDEN)}
        shapes.update({f"{prefix}.self_attn.{name}_norm.weight": (HEAD,) for name in "qk"})
        for expert in range(EXPERTS):
            shapes.update(_mlp(f"{prefix}.mlp.experts.{expert}", EXPERT_ROWS))
        layers.append(shapes)
    _write(
        folder,
        layers,
        architectures=["Qwen3MoeForCausalLM"],
        model_type="qwen3_moe",
        num_experts=EXPERTS,
        num_experts_per_tok=2,
        moe_intermediate_size=EXPERT_ROWS,
        norm_topk_prob=True,
        decoder_sparse_step=1,
        mlp_only_layers=[],
    )


def write_awq(folder: Path) -> None:
    """The dense one with its linear layers quantized: 4 bits, eight of them to an I32, F16 scales for each group."""
    layers = []
    for layer in range(LAYERS):
        shapes = {**_attention(layer), **_mlp(f"model.layers.{layer}.mlp", DENSE_ROWS)}
        layers.append({name: spec for plain, shape in shapes.items() for name, spec in _awq(plain, shape).items()})
    quantization = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": False}
    _write(folder, layers, np.float16, **config, torch_dtype="float16", quantization_config=quantization)


def _awq(name: str, shape: Tuple[int, ...]) -> Shapes:
    if len(shape) == 1:
        return {name: shape}
    (rows, columns), layer = shape, name[: -len(".weight")]
    groups = columns // GROUP
    return {
        f"{layer}.qweight": (columns, rows // 8),
        f"{layer}.qzeros": (groups, rows // 8),
        f"{layer}.scales": (groups, rows),
    }


def _attention(layer: int) -> Shapes:
    prefix = f"model.layers.{layer}"
    return {
        f"{prefix}.input_layernorm.weight": (HIDDEN,),
        f"{prefix}.self_attn.q_proj.weight": (HEADS * HEAD, HIDDEN),
        f"{prefix}.self_attn.k_proj.weight": (KV_HEADS * HEAD, HIDDEN),
        f"{prefix}.self_attn.v_proj.weight": (KV_HEADS * HEAD, HIDDEN),
        f"{prefix}.self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD),
        f"{prefix}.post_attention_layernorm.weight": (HIDDEN,),
    }


def _mlp(prefix: str, rows: int) -> Shapes:
    return {
        f"{prefix}.gate_proj.weight": (rows, HIDDEN),
        f"{prefix}.up_proj.weight": (rows, HIDDEN),
        f"{prefix}.down_proj.weight": (HIDDEN, rows),
    }


def _write(folder: Path, layers: List[Shapes], dtype: Any = np.float32, **config: Any) -> None:
    """One shard for each layer, one for the rest, and the index."""
    folder.mkdir(parents=True)
    rest: Shapes = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    random = np.random.default_rng(1)
    shards, where = [rest, *layers], {}
    for number, shapes in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {tensor: _values(random, tensor, shape, dtype) for tensor, shape in shapes.items()}
        save_file(tensors, folder / name, {"format": "pt"})
        where.update(dict.fromkeys(shapes, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text(json.dumps({**_CONFIG, **config}))


def _values(random: np.random.Generator, name: str, shape: Tuple[int, ...], dtype: Any) -> Any:
    if name.endswith((".qweight", ".qzeros")):
        return random.integers(0, 1 << 31, shape, np.int32)
    return random.standard_normal(shape, np.float32).astype(dtype)
