# SPDX-License-Identifier: Apache-2.0
"""safe_open: what comes out is what safetensors gives, over USRBIO; what is not there, or broken, is said in words."""

import json
import os
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import pytest
from support import Mount, eventually

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

# Threads of PyTorch's own would stay for good.
torch.set_num_threads(1)

import fastsafetensor_3fs_reader.numpy as fst_numpy  # noqa: E402
import fastsafetensor_3fs_reader.torch as fst_torch  # noqa: E402
from fastsafetensor_3fs_reader import _core  # noqa: E402

#: dtype -> bits of an element
DTYPES = {
    "BOOL": 8,
    "F4": 4,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
Spec = List[Tuple[str, str, Tuple[int, ...]]]


def checkpoint_file(spec: Spec, seed: int = 1, **metadata: str) -> bytes:
    """A file of tensors (name, dtype, shape) in the order given, so that misaligned ones can be had."""
    header: Dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    rng, data, at = np.random.default_rng(seed), [], 0
    for name, dtype, shape in spec:
        size = DTYPES[dtype] * int(np.prod(shape, dtype=np.int64)) // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        data.append(rng.integers(0, 2 if dtype == "BOOL" else 256, size, np.uint8).tobytes())
        at += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"".join(data)


#: Every dtype, scalars, empty tensors, and bytes in front that leave all that follows misaligned.
EVERY: Spec = [
    ("odd", "U8", (3,)),
    *[(f"{dtype}.matrix", dtype, (6, 10)) for dtype in DTYPES],
    ("odder", "I8", (1,)),
    *[(f"{dtype}.scalar", dtype, ()) for dtype in DTYPES if dtype != "F4"],
    *[(f"{dtype}.empty", dtype, (0, 4)) for dtype in DTYPES],
    ("BF16.large", "BF16", (1500, 1001)),
    *[(f"F32.small.{n}", "F32", (n % 7, 3)) for n in range(300)],
    ("F32.last", "F32", (200, 3000)),
]


@pytest.fixture
def every(mount: Mount) -> Mount:
    """Two files of every kind of tensor, one of them with metadata."""
    mount.write("model-1.safetensors", checkpoint_file(EVERY, format="pt", of="the first"))
    mount.write("model-2.safetensors", checkpoint_file([("b." + n, d, s) for n, d, s in EVERY], 2))
    return mount


def raw(tensor: "torch.Tensor") -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()) if tensor.numel() else b""


def expected(mount: Mount) -> Dict[str, "torch.Tensor"]:
    """What safetensors gives for the files of a mount's backing directory."""
    tensors = {}
    for path in sorted(mount.backing.glob("*.safetensors")):
        with safetensors.safe_open(str(path), framework="pt") as f:
            tensors.update({name: f.get_tensor(name) for name in f.keys()})  # noqa: SIM118
    return tensors


def assert_same(got: "torch.Tensor", want: "torch.Tensor", name: str) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape), name
    assert torch.equal(got.flatten().view(torch.uint8), want.flatten().view(torch.uint8)), name


def over_usrbio(info: Dict[str, Any], wanted: int) -> None:
    assert (info["transport"], info["client"], info["bytes_posix"]) == ("usrbio", "built-in", 0)
    assert info["bytes"] == wanted


# ------------------------------------------------------------------ the same tensors


def test_tensors_are_those_of_safetensors(every: Mount) -> None:
    want = expected(every)
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        got = dict(f.tensors())
        info = f.info()
        assert f.keys() == sorted(want)
        assert list(got) == f.offset_keys()
        assert sorted(got) == sorted(want)
        for name, tensor in want.items():
            assert_same(got[name], tensor, name)
        over_usrbio(info, sum(t.numel() * t.element_size() for t in want.values()))
        assert info["bytes_requested"] == info["bytes_wanted"] == info["bytes_taken"]
    stats = every.stats()
    assert stats["requests"] == info["requests"]


def test_get_tensor_gives_each_of_them(every: Mount) -> None:
    want = expected(every)
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        for name in [n for n in want if "small" not in n]:
            assert_same(f.get_tensor(name), want[name], name)
        assert f.info()["bytes_posix"] == 0


SLICES: List[Any] = [
    np.s_[0:2],
    np.s_[3],
    np.s_[-1],
    np.s_[...],
    np.s_[:],
    np.s_[1:1],
    np.s_[5:2],
    np.s_[:, 2:6],
    np.s_[2:5, 4],
    np.s_[..., 3],
    np.s_[1:6:2, ::3],
    np.s_[-4:-1],
]


@pytest.mark.parametrize("index", SLICES, ids=str)
def test_a_slice_is_that_of_the_whole_tensor(every: Mount, index: Any) -> None:
    want = expected(every)
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        for dtype in ("F32", "U8", "BF16", "C64"):
            name = f"{dtype}.matrix"
            assert_same(f.get_slice(name)[index].contiguous(), want[name][index].contiguous(), name)
        assert_same(f.get_slice("F32.scalar")[...], want["F32.scalar"], "F32.scalar")


def test_a_slice_reads_its_rows_alone(every: Mount) -> None:
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        before = f.info()["bytes"]
        part = f.get_slice("BF16.large")
        assert (part.get_shape(), part.get_dtype()) == ([1500, 1001], "BF16")
        part[100:110]
        assert f.info()["bytes"] - before == 10 * 1001 * 2


@pytest.mark.parametrize("index", [np.s_[7:], np.s_[6], np.s_[-7], np.s_[0:7], np.s_[:, 0:11], np.s_[0, 0, 0]], ids=str)
def test_a_slice_beyond_the_tensor_is_an_error(every: Mount, index: Any) -> None:
    with fst_torch.safe_open(every.path) as f, pytest.raises(ValueError, match=r"F32\.matrix"):
        f.get_slice("F32.matrix")[index]


def test_a_step_that_is_not_positive_is_an_error(every: Mount) -> None:
    with fst_torch.safe_open(every.path) as f, pytest.raises(ValueError, match="step"):
        f.get_slice("F32.matrix")[::-1]


def test_numpy_gives_the_same(every: Mount) -> None:
    want = expected(every)
    with fst_numpy.safe_open(every.path, tensor_filter=lambda name: "F4" not in name, require="usrbio") as f:
        got = dict(f.tensors())
        info = f.info()
    assert sorted(got) == sorted(name for name in want if "F4" not in name)
    for name, array in got.items():
        assert array.tobytes() == raw(want[name]), name
        assert array.shape == tuple(want[name].shape), name
    assert (info["transport"], info["bytes_posix"]) == ("usrbio", 0)


def test_a_dtype_that_a_framework_lacks_is_named(mount: Mount) -> None:
    mount.write("m.safetensors", checkpoint_file([("four", "F4", (2, 8))]))
    with fst_numpy.safe_open(mount.path) as f, pytest.raises(ValueError, match=r"m\.safetensors: four is F4"):
        f.get_tensor("four")


def test_load_file_and_load_model(every: Mount) -> None:
    want = expected(every)
    one = fst_torch.load_file(every.path / "model-1.safetensors", require="usrbio")
    everything = fst_torch.load_model(every.path, require="usrbio")
    assert sorted(one) == sorted(name for name in want if not name.startswith("b."))
    assert sorted(everything) == sorted(want)
    for name, tensor in want.items():
        assert_same(everything[name], tensor, name)


def test_tensors_own_their_memory(every: Mount) -> None:
    """They stay what they are while others are read, after the end, and one does not keep another's memory."""
    want = expected(every)
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        kept = []
        for name, tensor in f.tensors():
            kept.append((name, tensor))
            tensor.add_(0) if tensor.is_floating_point() and tensor.element_size() > 2 else None
            assert tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size() + (4 << 10)
    for name, tensor in kept:
        if "F8" not in name and "F4" not in name and not tensor.is_floating_point():
            assert_same(tensor, want[name], name)


# ------------------------------------------------------------------ what it knows


def test_metadata_is_that_of_the_files(every: Mount) -> None:
    with fst_torch.safe_open(every.path) as f:
        assert f.metadata() == {"format": "pt", "of": "the first"}
        info = f.get_tensor_metadata("BF16.large")
        assert (info.dtype, info.shape, info.nbytes) == ("BF16", (1500, 1001), 1500 * 1001 * 2)
        assert info.file == str(every.path / "model-1.safetensors")
    with fst_torch.safe_open(every.path / "model-2.safetensors") as f:
        assert f.metadata() is None


@pytest.mark.parametrize(
    ("wanted", "mode", "count"),
    [
        ("F32.small.*", "glob", 300),
        ("*F32.small.*", "glob", 600),
        (["*.scalar", "odd"], "glob", 2 * 19 + 1),
        ("b.odd", "exact", 1),
        (["b.odd", "odd"], "exact", 2),
        (r"small\.(1|2)$", "regex", 4),
        (lambda name: name.endswith("large"), "glob", 2),
        ("nothing*", "glob", 0),
    ],
)
def test_a_filter_reads_what_it_wants(every: Mount, wanted: Any, mode: str, count: int) -> None:
    want = expected(every)
    with fst_torch.safe_open(every.path, tensor_filter=wanted, tensor_name_match_mode=mode, require="usrbio") as f:
        got = dict(f.tensors())
        info = f.info()
    assert len(got) == count == len(f.keys())
    for name, tensor in got.items():
        assert_same(tensor, want[name], name)
    size = sum(t.numel() * t.element_size() for t in got.values())
    assert (info["bytes_wanted"], info["bytes"]) == (size, size)
    assert info["bytes_requested"] <= size + 2 * (64 << 10)
    assert info["bytes_skipped"] == sum(t.numel() * t.element_size() for t in want.values()) - size


def test_small_gaps_are_read_over_and_large_ones_are_not(mount: Mount) -> None:
    spec = [(f"{kind}.{n}", "U8", (size,)) for n in range(20) for kind, size in (("x", 3000), ("near", 900))]
    mount.write("near.safetensors", checkpoint_file(spec))
    mount.write("far.safetensors", checkpoint_file([("far." + n, d, (s[0] * 100,)) for n, d, s in spec]))
    with fst_torch.safe_open(mount.path, tensor_filter=lambda n: n.startswith("x."), require="usrbio") as f:
        dict(f.tensors())
        info = f.info()
        assert info["requests"] == 1
        assert info["bytes_requested"] == 20 * 3000 + 19 * 900
    with fst_torch.safe_open(mount.path, tensor_filter=lambda n: n.startswith("far.x."), require="usrbio") as f:
        dict(f.tensors())
        info = f.info()
        assert info["bytes_requested"] == info["bytes_wanted"] == 20 * 300_000


def test_an_index_says_which_files(every: Mount) -> None:
    weight_map = {"odd": "model-1.safetensors", "F32.last": "model-1.safetensors"}
    every.write("model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
    for files in (every.path, every.path / "model.safetensors.index.json"):
        with fst_torch.safe_open(files) as f:
            assert f.checkpoint.files == [str(every.path / "model-1.safetensors")]


def test_off_3fs_it_reads_through_the_system_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m.safetensors").write_bytes(checkpoint_file(EVERY))
    with fst_torch.safe_open(tmp_path) as f:
        got = dict(f.tensors())
        info = f.info()
    assert len(got) == len(EVERY)
    assert (info["transport"], info["bytes_posix"]) == ("posix", info["bytes"])
    assert any("not on 3FS" in record.message for record in caplog.records)
    with pytest.raises(OSError, match="ruled out"):
        fst_torch.safe_open(tmp_path, require="usrbio")


# ------------------------------------------------------------------ what is wrong


def broken(change: Callable[[Dict[str, Any]], None]) -> bytes:
    header = {"t": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


BROKEN = {
    "dtype": lambda h: h["t"].update(dtype="F33"),
    "shape": lambda h: h["t"].update(shape=[2, 3]),
    "offsets": lambda h: h["t"].update(data_offsets=[4, 20]),
    "beyond": lambda h: h["t"].update(shape=[2, 4], data_offsets=[0, 32]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_header_names_file_and_tensor(mount: Mount, kind: str) -> None:
    mount.write("bad.safetensors", broken(BROKEN[kind]))
    with pytest.raises(ValueError, match=r"bad\.safetensors: .*\bt\b"):
        fst_torch.safe_open(mount.path)


def test_an_index_that_names_what_is_not_there(every: Mount) -> None:
    index = every.write("model.safetensors.index.json", json.dumps({"weight_map": {"no": "no.safetensors"}}).encode())
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors"):
        fst_torch.safe_open(every.path)
    every.write("model.safetensors.index.json", json.dumps({"weight_map": {"no": "model-1.safetensors"}}).encode())
    with pytest.raises(ValueError, match=r"index\.json: names tensor no in model-1\.safetensors"):
        fst_torch.safe_open(index)


def test_one_name_in_two_files(mount: Mount) -> None:
    mount.write("a.safetensors", checkpoint_file([("same", "U8", (3,))]))
    mount.write("b.safetensors", checkpoint_file([("same", "U8", (3,))]))
    with pytest.raises(ValueError, match=r"b\.safetensors: tensor same is in .*a\.safetensors as well"):
        fst_torch.safe_open(mount.path)


def test_a_directory_without_tensors(mount: Mount) -> None:
    with pytest.raises(ValueError, match=r"neither model\.safetensors\.index\.json nor files"):
        fst_torch.safe_open(mount.path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fst_torch.safe_open(mount.path / "nowhere")
    with pytest.raises(ValueError, match="no files"):
        fst_torch.safe_open([])


def test_names_that_there_are_not_come_with_those_that_are_like_them(every: Mount) -> None:
    with pytest.raises(KeyError, match=r"no tensor 'F32\.lost'.*is it 'F32\.last'"):
        fst_torch.safe_open(every.path, tensor_filter="F32.lost", tensor_name_match_mode="exact")
    with fst_torch.safe_open(every.path) as f, pytest.raises(KeyError, match=r"F32\.last"):
        f.get_tensor("F32.lost")


@pytest.mark.parametrize("name", ["", "F32.last\0", "\ud800"])
def test_names_that_no_tensor_can_have(every: Mount, name: str) -> None:
    with fst_torch.safe_open(every.path) as f, pytest.raises(KeyError, match="no tensor"):
        f.get_tensor(name)


@pytest.mark.parametrize("module", [fst_torch, fst_numpy])
def test_rows_of_a_tensor_that_has_none(mount: Mount, module: Any) -> None:
    path = mount.write("m.safetensors", checkpoint_file([("none", "F32", (0, 3)), ("some", "F32", (2, 3))]))
    with module.safe_open(path) as f:
        assert tuple(f.get_slice("none")[0:0].shape) == (0, 3)
        assert tuple(f.get_slice("some")[1:1].shape) == (0, 3)


def test_a_name_is_a_string(every: Mount) -> None:
    with fst_torch.safe_open(every.path) as f, pytest.raises(TypeError, match="a tensor's name is a string, not 7"):
        f.get_tensor(7)


def test_tensors_by_number(every: Mount) -> None:
    with fst_torch.safe_open(every.path) as f:
        tensors = f.checkpoint.tensors
        assert [tensor.name for tensor in tensors] == f.offset_keys()
        assert tensors[-1] == tensors[len(tensors) - 1] == tensors[-1:][0]
        for number in (len(tensors), -len(tensors) - 1):
            with pytest.raises(IndexError, match=f"tensor {number} of {len(tensors)}"):
                tensors[number]


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"device": "cuda:7"}, "cuda:7"),
        ({"device": "meta"}, "meta"),
        ({"device": "nonsense"}, "nonsense"),
        ({"framework": "tf"}, "tf"),
        ({"tensor_filter": "(", "tensor_name_match_mode": "regex"}, "no regular expression"),
        ({"tensor_filter": "x", "tensor_name_match_mode": "fuzzy"}, "fuzzy"),
    ],
)
def test_arguments_that_make_no_sense(every: Mount, kwargs: Dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fst_torch.safe_open(every.path, **kwargs)


def test_a_file_truncated_after_its_header_was_read(every: Mount) -> None:
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        os.truncate(every.backing / "model-2.safetensors", 100_000)
        got: List[str] = []
        with pytest.raises(ValueError, match=r"model-2\.safetensors: truncated"):
            got.extend(name for name, _ in f.tensors())
        assert got[: len(EVERY)] == f.offset_keys()[: len(EVERY)]
        assert f.get_tensor("odd").numel() == 3


def test_a_file_replaced_after_its_header_was_read(every: Mount) -> None:
    """Its tensors may lie anywhere in the new one: wrong weights without a word would be the worst."""
    with fst_torch.safe_open(every.path, require="usrbio") as f:
        new = every.path / "new"
        new.write_bytes((every.path / "model-2.safetensors").read_bytes())
        new.rename(every.path / "model-2.safetensors")
        with pytest.raises(ValueError, match=r"model-2\.safetensors: another file has this name now"):
            dict(f.tensors())
        with pytest.raises(ValueError, match=r"model-2\.safetensors: another file"):
            f.get_tensor("b.odd")
        assert f.get_tensor("odd").numel() == 3


# ------------------------------------------------------------------ errors and ends in mid-stream


def test_an_error_of_the_daemon_ends_the_stream_and_what_was_given_out_stays(serve: Callable[..., Mount]) -> None:
    mount = serve("--fail-every", "9")
    size = 4 << 20
    mount.write("a.safetensors", checkpoint_file([("first", "U8", (size,))]))
    mount.write("m.safetensors", checkpoint_file([(f"t{n}", "U8", (size,)) for n in range(8)]))
    want = expected(mount)
    got: Dict[str, Any] = {}
    with fst_torch.safe_open(mount.path, require="usrbio", entries=2) as f:
        with pytest.raises(OSError, match=r"m\.safetensors"):
            take(f.tensors(), got)
    assert 0 < len(got) < 9
    for name, tensor in got.items():
        assert_same(tensor, want[name], name)


def take(stream: Iterator[Tuple[str, "torch.Tensor"]], into: Dict[str, "torch.Tensor"]) -> Dict[str, "torch.Tensor"]:
    """All of it, and what came before an error is kept."""
    for name, tensor in stream:
        into[name] = tensor
    return into


@pytest.mark.parametrize("how", ["break", "raise", "close", "drop"])
def test_leaving_early_stops_the_reading(serve: Callable[..., Mount], how: str) -> None:
    mount = serve("--latency-us", "2000")
    mount.write("m.safetensors", checkpoint_file([(f"t{n}", "U8", (1 << 18,)) for n in range(512)]))
    f = fst_torch.safe_open(mount.path, require="usrbio", buffer_size=4 << 20, ahead=8 << 20)
    stream = f.tensors()
    next(stream)
    if how == "break":
        stream.close()
    elif how == "raise":
        with pytest.raises(KeyError), f:
            raise KeyError
    elif how == "close":
        f.close()
        with pytest.raises(ValueError, match="closed"):
            next(stream)
    del stream
    stopped = mount.stats()["requests"]
    f.close()
    del f
    assert eventually(lambda: mount.registrations() == 0)
    assert mount.stats()["requests"] == stopped < 400


def test_the_stream_goes_no_further_ahead_than_told(mount: Mount) -> None:
    mount.write("m.safetensors", checkpoint_file([(f"t{n}", "U8", (1 << 20,)) for n in range(100)]))
    ahead = 16 << 20
    with fst_torch.safe_open(mount.path, require="usrbio", buffer_size=8 << 20, ahead=ahead) as f:
        for taken, _ in enumerate(f.tensors()):
            read = f.info()["bytes"]
            # One run of 64 MiB is planned together, and one tensor more.
            assert read <= (taken + 1 << 20) + ahead + (65 << 20)
        assert f.info()["idle_ns"] > 0


def test_a_slow_consumer_shows(mount: Mount) -> None:
    mount.write("m.safetensors", checkpoint_file([(f"t{n}", "U8", (1 << 20,)) for n in range(90)]))
    with fst_torch.safe_open(mount.path, require="usrbio", ahead=1 << 20) as f:
        for n, _ in enumerate(f.tensors()):
            if n == 10:
                assert eventually(lambda: f.info()["idle_ns"] > 20_000_000)


def test_a_bar_on_request(every: Mount, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # a thread of its own, which stays
    with fst_torch.safe_open(every.path, progress=True) as f:
        dict(f.tensors())
    assert "B/s" in capfd.readouterr().err


def test_what_the_core_refuses(every: Mount) -> None:
    with fst_torch.safe_open(every.path) as f:
        core, checkpoint = f._reader.core, f.checkpoint.core
        with pytest.raises(TypeError, match="keyword"):
            _core.Share(checkpoint, None, 2, 1 << 20, 4096, ranks=2)  # type: ignore[call-arg]
        assert core.read_tensors(checkpoint, None, []) is None
        with pytest.raises(ValueError, match="1 addresses for 0 tensors"):
            core.read_tensors(checkpoint, None, [1])
    assert f.info()["bytes"] == 0


def test_files_on_3fs_are_read_so_wherever_they_stand(mount: Mount, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a.safetensors"
    elsewhere.write_bytes(checkpoint_file([("a", "U8", (1000,))]))
    mount.write("b.safetensors", checkpoint_file([("b", "U8", (2000,))]))
    with fst_torch.safe_open([elsewhere, mount.path / "b.safetensors"]) as f:
        assert len(dict(f.tensors())) == 2
        info = f.info()
    assert (info["transport"], info["bytes"], info["bytes_posix"]) == ("usrbio", 3000, 1000)


def test_two_to_a_byte_are_not_cut(mount: Mount) -> None:
    mount.write("m.safetensors", checkpoint_file([("matrix", "F4", (6, 10)), ("vector", "F4", (8,))]))
    with fst_torch.safe_open(mount.path, require="usrbio") as f:
        whole = f.get_tensor("matrix").view(torch.uint8)
        assert torch.equal(f.get_slice("matrix")[2:4].view(torch.uint8), whole[2:4])
        for name, index in (("matrix", np.s_[:, 2:6]), ("matrix", np.s_[0, 3]), ("vector", np.s_[0:4])):
            with pytest.raises(ValueError, match="two to a byte"):
                f.get_slice(name)[index]
        assert torch.equal(f.get_slice("vector")[...].view(torch.uint8), f.get_tensor("vector").view(torch.uint8))
