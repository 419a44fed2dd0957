# SPDX-License-Identifier: Apache-2.0
"""fst3fs ls and fst3fs cat."""

import io
import json
import os
from pathlib import Path
from typing import Dict, List

import fst3fs
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from support import Mount, random_bytes

LAYERS = 12


def tensors_of(layer: int) -> Dict[str, np.ndarray]:
    rng = np.random.default_rng(layer)
    return {
        f"model.layers.{layer}.attn.weight": rng.standard_normal((8, layer + 1)).astype(ml_dtypes.bfloat16),
        f"model.layers.{layer}.mlp.weight": rng.standard_normal((3, 5, 7)).astype(np.float32),
        f"model.layers.{layer}.bias": np.arange(layer, dtype=np.int64),
    }


@pytest.fixture
def model(scratch: Path) -> Path:
    """Twelve layers in three files, with an index, off 3FS."""
    return write_model(scratch / "model")


def write_model(folder: Path) -> Path:
    folder.mkdir()
    weight_map = {}
    for shard in range(3):
        tensors = {k: v for layer in range(shard * 4, shard * 4 + 4) for k, v in tensors_of(layer).items()}
        name = f"model-{shard + 1}-of-3.safetensors"
        save_file(tensors, folder / name)
        weight_map.update(dict.fromkeys(tensors, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def listed(text: str) -> List[List[str]]:
    return [line.split() for line in text.splitlines()[1:]]


# ------------------------------------------------------------------ ls


def test_a_list(model: Path) -> None:
    done = fst3fs.run("ls", str(model))
    assert done.returncode == 0
    rows = listed(done.stdout)
    assert len(rows) == 3 * LAYERS
    expected = f"model.layers.1.attn.weight BF16 [8, 2] 32 {model}/model-1-of-3.safetensors".split()
    assert expected in rows
    assert done.stderr == "fst3fs: 36 tensors of 6.8 kB in 3 files\n"


@pytest.mark.parametrize("on_3fs", [True, False])
def test_a_list_for_programs(mount: Mount, model: Path, on_3fs: bool) -> None:
    if on_3fs:
        model = write_model(mount.backing / "model").relative_to(mount.backing)
        model = mount.path / model
    result = fst3fs.result("ls", str(model))
    assert [os.path.basename(file) for file in result["files"]] == [f"model-{i}-of-3.safetensors" for i in (1, 2, 3)]
    expected = {name: tensor for layer in range(LAYERS) for name, tensor in tensors_of(layer).items()}
    assert {t["name"]: (t["shape"], t["bytes"]) for t in result["tensors"]} == {
        name: (list(tensor.shape), tensor.nbytes) for name, tensor in expected.items()
    }
    assert result["bytes"] == sum(tensor.nbytes for tensor in expected.values())
    for t in result["tensors"]:
        with open(t["file"], "rb") as file:
            file.seek(t["offset"])
            assert file.read(t["bytes"]) == expected[t["name"]].tobytes()


def test_files_one_by_one(model: Path) -> None:
    files = [str(model / f"model-{i}-of-3.safetensors") for i in (3, 1, 3)]
    result = fst3fs.result("ls", *files)
    assert result["files"] == files[:2]
    assert len(result["tensors"]) == 24


def test_filters(model: Path) -> None:
    names = {
        t["name"] for t in fst3fs.result("ls", "--filter", "*.1.bias", "--filter", "*.1?.attn.*", str(model))["tensors"]
    }
    assert names == {"model.layers.1.bias", "model.layers.10.attn.weight", "model.layers.11.attn.weight"}
    done = fst3fs.run("ls", "--filter", "nothing*", str(model))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "fst3fs: 0 tensors of 0 B in 3 files\n")


def test_orders(model: Path) -> None:
    def in_order(order: str) -> List[str]:
        return [t["name"] for t in fst3fs.result("ls", "--sort", order, "--filter", "*.bias", str(model))["tensors"]]

    assert in_order("name") == [f"model.layers.{i}.bias" for i in range(LAYERS)]
    assert in_order("bytes") == [f"model.layers.{i}.bias" for i in reversed(range(LAYERS))]
    rows = fst3fs.result("ls", "--sort", "dtype", str(model))["tensors"]
    assert [t["dtype"] for t in rows] == ["BF16"] * LAYERS + ["F32"] * LAYERS + ["I64"] * LAYERS
    rows = fst3fs.result("ls", str(model / "model-1-of-3.safetensors"))["tensors"]
    assert [t["offset"] for t in rows] == sorted(t["offset"] for t in rows)


def test_a_tree(model: Path) -> None:
    tree = fst3fs.result("ls", "--tree", "--sort", "name", str(model))
    assert (tree["name"], tree["tensors"]) == ("", 36)
    (top,) = tree["children"]
    (layers,) = top["children"]
    assert (top["name"], layers["name"]) == ("model", "layers")
    assert [child["name"] for child in layers["children"]] == [str(i) for i in range(LAYERS)]
    assert layers["children"][5] == {"name": "5", "tensors": 3, "bytes": 8 * 6 * 2 + 105 * 4 + 5 * 8, "children": []}
    tree = fst3fs.result("ls", "--tree", "--sort", "bytes", "--depth", "4", str(model))
    layers = tree["children"][0]["children"][0]["children"]
    assert layers[0]["name"] == "11"
    assert [child["name"] for child in layers[0]["children"]] == ["mlp", "attn", "bias"]
    shown = fst3fs.run("ls", "--tree", "--depth", "1", str(model)).stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [["all", "36", "6.8", "kB"], ["model", "36", "6.8", "kB"]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        (b"", "shorter than"),
        (b"\x02\0\0\0\0\0\0\0[]", "start with"),
        (b"\2\0\0\0\0\0\0\0{:", "not"),
    ],
)
def test_what_is_no_safetensors_file(scratch: Path, content: bytes, complaint: str) -> None:
    path = scratch / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    done = fst3fs.run("ls", str(path))
    assert (done.returncode, done.stdout) == (3, "")
    assert complaint in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_nothing(scratch: Path) -> None:
    done = fst3fs.run("ls", str(scratch))
    assert done.returncode == 3
    assert f"{scratch}: a directory with neither model.safetensors.index.json nor files *.safetensors" in done.stderr


# ------------------------------------------------------------------ cat

TYPES = {
    "bool": np.array([[True, False, True]]),
    "i64": np.arange(-3, 3),
    "f16": np.ones((2, 2), np.float16),
    "scalar": np.array(2.5, np.float64),
    "empty": np.empty((0, 4), np.float32),
}


def test_raw_bytes(mount: Mount, scratch: Path) -> None:
    save_file(TYPES, mount.backing / "m.safetensors")
    for name, tensor in TYPES.items():
        done = fst3fs.run("cat", str(mount.path / "m.safetensors"), name, text=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, tensor.tobytes(), b"")
    # The empty one takes no request.
    assert mount.stats()["requests"] >= len(TYPES) - 1


def test_a_tensor_larger_than_one_read(mount: Mount) -> None:
    data = random_bytes(150_000_001)
    save_file({"t": np.frombuffer(data, np.uint8)}, mount.backing / "m.safetensors")
    assert fst3fs.run("cat", str(mount.path / "m.safetensors"), "t", text=False).stdout == data
    assert mount.stats()["bytes"] == len(data)


def test_of_a_folder(model: Path) -> None:
    name = "model.layers.9.mlp.weight"
    assert fst3fs.run("cat", str(model), name, text=False).stdout == tensors_of(9)[name].tobytes()


def test_npy(model: Path, scratch: Path) -> None:
    path = scratch / "m.safetensors"
    save_file(TYPES, path)
    for name, tensor in TYPES.items():
        loaded = np.load(io.BytesIO(fst3fs.run("cat", "--npy", str(path), name, text=False).stdout))
        assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(loaded, tensor)


def test_npy_of_what_numpy_has_not(model: Path) -> None:
    name = "model.layers.3.attn.weight"
    done = fst3fs.run("cat", "--npy", str(model), name, text=False)
    loaded = np.load(io.BytesIO(done.stdout)).view(ml_dtypes.bfloat16)
    assert np.array_equal(loaded, tensors_of(3)[name])
    assert b"ml_dtypes" in done.stderr


def test_npy_of_what_has_no_whole_bytes(scratch: Path) -> None:
    header = {"t": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}
    raw = json.dumps(header).encode()
    (scratch / "m").write_bytes(len(raw).to_bytes(8, "little") + raw + b"ab")
    done = fst3fs.run("cat", "--npy", str(scratch / "m"), "t")
    assert (done.returncode, done.stdout) == (3, "")
    assert "t is F4" in done.stderr
    assert fst3fs.run("cat", str(scratch / "m"), "t").stdout == "ab"


def test_no_such_tensor(model: Path) -> None:
    done = fst3fs.run("cat", str(model), "model.layers.99")
    assert (done.returncode, done.stdout) == (3, "")
    assert "model.layers.99" in done.stderr
