# SPDX-License-Identifier: Apache-2.0
"""Is every tensor that was read what the safetensors library itself loads?"""

import json
from typing import Dict, Iterator, List, Tuple

import numpy as np
from safetensors import deserialize, safe_open

#: What safetensors gives as numpy arrays. Other types it gives as bytes only, a whole file at a time.
NUMPY_TYPES = {
    *("F64", "F32", "F16", "BF16", "C64", "BOOL"),
    *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"),
}


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _reference(path: str, names: List[str]) -> Iterator[Tuple[str, np.ndarray]]:
    """(name, bytes) of every tensor as safetensors loads it."""
    with safe_open(path, framework="np") as file:
        raw = [name for name in names if file.get_slice(name).get_dtype() not in NUMPY_TYPES]
        for name in names:
            if name not in raw:
                yield name, _as_bytes(file.get_tensor(name))
    if raw:
        with open(path, "rb") as whole:
            tensors = dict(deserialize(whole.read()))  # type: ignore[no-untyped-call]
        for name in raw:
            yield name, np.frombuffer(tensors.pop(name)["data"], np.uint8)


def compare_shard(path: str, header_json: str, data: np.ndarray) -> Tuple[int, List[str]]:
    """How many tensors of ``data``, the shard's bytes after its header, are identical, and which are not.

    ``path`` is the file that safetensors loads, ``header_json`` what the reader gave.
    """
    header: Dict[str, Dict[str, List[int]]] = json.loads(header_json)
    header.pop("__metadata__", None)
    with safe_open(path, framework="np") as file:
        names = set(file.keys())
    wrong = sorted(names ^ header.keys())
    identical = 0
    for name, expected in _reference(path, sorted(names & header.keys())):
        begin, end = header[name]["data_offsets"]
        if np.array_equal(data[begin:end], expected):
            identical += 1
        else:
            wrong.append(name)
    return identical, wrong
