# SPDX-License-Identifier: Apache-2.0
"""Writes the small files beside it: valid ones, and broken ones, which are named for the rule that they break."""

import struct
from pathlib import Path
from typing import Dict, Iterator, Tuple, Union

BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
}
BITS.update({dtype: 64 for dtype in ("I64", "U64", "F64", "C64")})
BITS.update({dtype: 8 for dtype in ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ")})

BIG = 2**64


def members(dtype: str = "U8", shape: str = "[4]", offsets: str = "[0,4]") -> str:
    return f'"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}'


def tensor(name: str = "t", dtype: str = "U8", shape: str = "[4]", offsets: str = "[0,4]") -> str:
    return f'"{name}":{{{members(dtype, shape, offsets)}}}'


def besides(value: str) -> str:
    """A header with one tensor of 4 bytes that has a key which the format does not know."""
    return f'{{"t":{{{members()},"x":{value}}}}}'


def file(header: Union[str, bytes], data: int = 0, length: int = -1) -> bytes:
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if length < 0 else length) + raw + bytes(i % 251 for i in range(data))


VALID: Dict[str, bytes] = {
    "no-tensors": file("{}"),
    "one": file(f"{{{tensor()}}}", 4),
    "scalar": file(f"{{{tensor(dtype='F32', shape='[]')}}}", 4),
    "empty": file(f"{{{tensor(shape='[0]', offsets='[0,0]')}}}"),
    "empty-and-huge": file(f"{{{tensor(shape=f'[0,{BIG - 1}]', offsets='[0,0]')}}}"),
    "white-space": file('{\n\t"t" :\r { ' + members(shape="[ 4 ]", offsets="[ 0 , 4 ]") + " } } \n\t\r ", 4),
    "name-empty": file(f"{{{tensor('')}}}", 4),
    "name-escapes": file("{" + tensor(r"\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\uDE00") + "}", 4),
    "name-utf8": file(f"{{{tensor('模型é😀')}}}", 4),
    "name-delete": file("{" + tensor("\x7f") + "}", 4),
    "keys-escaped": file('{"t":{"d\\u0074ype":"\\u00558","sh\\u0061pe":[4],"data\\u005foffsets":[0,4]}}', 4),
    "keys-in-another-order": file('{"t":{"data_offsets":[0,4],"shape":[2,2],"dtype":"I8"}}', 4),
    "keys-unknown": file(besides('[{"dtype":1},"\\u0000",-1.5e-3,0,true,false,null,{},[]]'), 4),
    "keys-unknown-twice": file(besides('1,"x":2'), 4),
    "depth": file(besides("[" * 125 + "]" * 125), 4),
    "metadata": file(
        '{"__metadata__":{"format":"pt","模":"\\ud83d\\ude00","nul\\u0000":"\\u0000","":""},' + tensor() + "}", 4
    ),
    "metadata-empty": file('{"__metadata__":{}}'),
    "metadata-null": file('{"__metadata__":null}'),
    "metadata-last": file("{" + tensor() + ',"__m\\u0065tadata__":{"a":"b"}}', 4),
    "misaligned": file(f"{{{tensor('a', 'U8', '[1]', '[0,1]')},{tensor('b', 'F64', '[2]', '[1,17]')}}}", 17),
    "any-order": file(
        "{"
        + ",".join(
            [
                tensor("c", "U8", "[2]", "[3,5]"),
                tensor("a", "U8", "[3]", "[0,3]"),
                tensor("z", "U8", "[0]", "[3,3]"),
                tensor("b", "U8", "[1,1]", "[5,6]"),
            ]
        )
        + "}",
        6,
    ),
    **{
        f"dtype-{dtype}": file(f"{{{tensor('t', dtype, '[2,4]', f'[0,{bits}]')}}}", bits)
        for dtype, bits in BITS.items()
    },
}

#: By rule, then by what is wrong. Those that the safetensors package takes all the same are in TAKEN.
BROKEN: Dict[str, Dict[str, bytes]] = {
    "file-too-short": {"nothing": b"", "seven": b"\2\0\0\0\0\0\0"},
    "header-too-long": {"by-one": file("{", length=100_000_001), "wraps": file("{}", length=BIG - 8)},
    "header-beyond-file": {"by-one": file("{}", length=3), "no-header": struct.pack("<Q", 1)},
    "header-start": {
        "nothing": file(""),
        "array": file(f"[{{{tensor()}}}]", 4),
        "space": file(f" {{{tensor()}}}", 4),
        "bom": file("\ufeff{}"),
    },
    "json-utf8": {
        "invalid": file(b'{"\xff":0}'),
        "overlong": file(b'{"\xc0\xaf":0}'),
        "surrogate": file(b'{"\xed\xa0\x80":0}'),
        "cut": file(b'{"\xe6\xa8'),
        "nul": file(b'{"\0":0}'),
    },
    "json-syntax": {
        "comma": file(f"{{{tensor()},}}", 4),
        "no-colon": file('{"t" 1}'),
        "no-comma": file(f"{{{tensor()}{tensor('u')}}}", 4),
        "no-key": file("{t:1}"),
        "nan": file(besides("NaN"), 4),
        "comment": file(besides("/**/1"), 4),
        "brackets": file('{"t":{"shape":[1}}'),
        "word": file(besides("tru"), 4),
        "plus": file(besides("+1"), 4),
    },
    "json-cut-short": {
        "brace": file("{"),
        "string": file('{"t'),
        "escape": file('{"t\\'),
        "value": file('{"t":'),
        "array": file('{"t":{"shape":[1'),
    },
    "json-trailing": {"object": file("{}{}"), "comma": file("{},"), "brace": file(f"{{{tensor()}}}}}", 4)},
    "json-depth": {"by-one": file(besides("[" * 126 + "]" * 126), 4), "by-far": file('{"t":' + '{"a":[' * 200)},
    "json-control": {"newline": file('{"a\nb":0}'), "in-a-value": file(besides('"\x1f"'), 4)},
    "json-escape": {"letter": file('{"\\x":0}'), "hex": file('{"\\u12g4":0}'), "short": file('{"\\u123":0}')},
    "json-surrogate": {
        "first": file('{"\\ud83d":0}'),
        "second": file('{"\\ude00":0}'),
        "swapped": file('{"\\ude00\\ud83d":0}'),
        "in-a-value": file(besides('"\\udfff"'), 4),
    },
    "json-number": {
        "zero-first": file(besides("01"), 4),
        "minus": file(besides("-"), 4),
        "no-fraction": file(besides("1."), 4),
        "no-exponent": file(besides("1e+"), 4),
        "in-a-shape": file(f"{{{tensor(shape='[04]')}}}", 4),
    },
    "tensor-name-nul": {"inside": file("{" + tensor("a\\u0000b") + "}", 4)},
    "tensor-twice": {
        "equal": file(f"{{{tensor()},{tensor()}}}", 4),
        "escaped": file("{" + tensor() + "," + tensor("\\u0074") + "}", 4),
    },
    "tensor-type": {
        "array": file('{"t":["U8",[4],[0,4]]}', 4),
        "null": file('{"t":null}'),
        "string": file('{"t":"U8"}'),
    },
    "key-twice": {
        "dtype": file('{"t":{"dtype":"U8",' + members() + "}}", 4),
        "escaped": file('{"t":{"sh\\u0061pe":[4],' + members() + "}}", 4),
    },
    "key-missing": {
        "all": file('{"t":{}}'),
        "shape": file('{"t":{"dtype":"U8","data_offsets":[0,4]}}', 4),
        "spelt": file('{"t":{"Dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4),
    },
    "dtype-type": {
        "object": file('{"t":{"dtype":{"U8":null},"shape":[4],"data_offsets":[0,4]}}', 4),
        "number": file('{"t":{"dtype":8,"shape":[4],"data_offsets":[0,4]}}', 4),
    },
    "dtype-unknown": {
        "case": file(f"{{{tensor(dtype='u8')}}}", 4),
        "nul": file("{" + tensor(dtype="U8\\u0000") + "}", 4),
        "empty": file(f"{{{tensor(dtype='')}}}", 4),
    },
    "shape-type": {
        "negative": file(f"{{{tensor(shape='[-4]')}}}", 4),
        "minus-zero": file(f"{{{tensor(shape='[-0]', offsets='[0,0]')}}}"),
        "fraction": file(f"{{{tensor(shape='[4.0]')}}}", 4),
        "exponent": file(f"{{{tensor(shape='[4e0]')}}}", 4),
        "65-bits": file(f"{{{tensor(shape=f'[0,{BIG}]', offsets='[0,0]')}}}"),
        "string": file("{" + tensor(shape='["4"]') + "}", 4),
        "null": file(f"{{{tensor(shape='null')}}}", 4),
        "number": file(f"{{{tensor(shape='4')}}}", 4),
    },
    "shape-overflow": {
        "elements": file(f"{{{tensor(shape='[4294967296,4294967296]', offsets='[0,0]')}}}"),
        "bits": file(f"{{{tensor(shape=f'[{BIG // 8}]', offsets='[0,0]')}}}"),
        "before-a-zero": file(f"{{{tensor(shape=f'[{BIG // 2},2,0]', offsets='[0,0]')}}}"),
    },
    "shape-sub-byte": {
        "f4": file(f"{{{tensor('t', 'F4', '[3,3]', '[0,5]')}}}", 5),
        "f6": file(f"{{{tensor('t', 'F6_E2M3', '[2]', '[0,2]')}}}", 2),
    },
    "offsets-type": {
        "one": file(f"{{{tensor(offsets='[4]')}}}", 4),
        "three": file(f"{{{tensor(offsets='[0,4,4]')}}}", 4),
        "negative": file(f"{{{tensor(offsets='[-1,3]')}}}", 4),
        "fraction": file(f"{{{tensor(offsets='[0,4.0]')}}}", 4),
        "object": file("{" + tensor(offsets='{"0":4}') + "}", 4),
    },
    "offsets-reversed": {"four": file(f"{{{tensor(offsets='[4,0]')}}}", 4)},
    "offsets-size": {
        "short": file(f"{{{tensor('t', 'F32', '[1]', '[0,3]')}}}", 3),
        "scalar": file(f"{{{tensor(shape='[]', offsets='[0,0]')}}}"),
        "empty": file(f"{{{tensor(shape='[0]', offsets='[0,1]')}}}", 1),
    },
    "data-gap": {
        "first": file(f"{{{tensor(offsets='[1,5]')}}}", 5),
        "second": file(f"{{{tensor()},{tensor('u', offsets='[5,9]')}}}", 9),
    },
    "data-overlap": {
        "part": file(f"{{{tensor()},{tensor('u', offsets='[3,7]')}}}", 7),
        "whole": file(f"{{{tensor()},{tensor('u')}}}", 4),
    },
    "data-beyond-file": {
        "by-one": file(f"{{{tensor()}}}", 3),
        "by-far": file(f"{{{tensor(shape=f'[{BIG // 8 - 1}]', offsets=f'[0,{BIG // 8 - 1}]')}}}"),
    },
    "data-left-over": {"by-one": file(f"{{{tensor()}}}", 5), "no-tensors": file("{}", 1)},
    "metadata-type": {
        "array": file('{"__metadata__":[]}'),
        "number": file('{"__metadata__":{"a":1}}'),
        "null": file('{"__metadata__":{"a":null}}'),
    },
    "metadata-twice": {
        "itself": file('{"__metadata__":{},"__metadata__":{}}'),
        "null": file('{"__metadata__":null,"__metadata__":{}}'),
        "key": file('{"__metadata__":{"a":"b","a":"c"}}'),
    },
}

#: What the safetensors package takes nevertheless; docs/safetensors-rules.md says why we do not.
TAKEN = {
    "header-start.space",
    "tensor-name-nul.inside",
    "tensor-twice.equal",
    "tensor-twice.escaped",
    "tensor-type.array",
    "dtype-type.object",
    "metadata-twice.key",
}

#: Indices of checkpoints: rule or "valid", and what is in it.
INDICES: Dict[str, Dict[str, str]] = {
    "valid": {
        "usual": '{"metadata": {"total_size": 8},\n "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}\n',
        "empty": '{"weight_map":{}}',
        "folder": ' {"weight_map":{"a":"sub/f","b":"./f","c":"..f"},"x":[1,{"weight_map":null}]}',
        "escaped": '{"weight_m\\u0061p":{"\\u00e9":"f"}}',
    },
    "index-type": {"array": "[]"},
    "index-map-missing": {"all": "{}", "inside": '{"metadata":{"weight_map":{}}}'},
    "index-map-type": {"null": '{"weight_map":null}', "number": '{"weight_map":{"a":1}}'},
    "index-map-twice": {"empty": '{"weight_map":{},"weight_map":{}}'},
    "index-file-name": {
        "empty": '{"weight_map":{"a":""}}',
        "absolute": '{"weight_map":{"a":"/etc/passwd"}}',
        "up": '{"weight_map":{"a":"../f"}}',
        "up-in-the-middle": '{"weight_map":{"a":"b/\\u002e./../f"}}',
        "nul": '{"weight_map":{"a":"f\\u0000"}}',
    },
    "tensor-twice": {"equal": '{"weight_map":{"a":"f","a":"f"}}'},
    "tensor-name-nul": {"inside": '{"weight_map":{"a\\u0000":"f"}}'},
    "json-cut-short": {"nothing": "", "brace": '{"weight_map":{"a":"f"}'},
    "json-trailing": {"brace": '{"weight_map":{}}}'},
    "json-depth": {"by-far": '{"x":' + "[" * 2000},
}


def files() -> Iterator[Tuple[str, bytes]]:
    """Every file's path, relative to the folder of the corpus, and what is in it."""
    for name, content in VALID.items():
        yield f"valid/{name}.safetensors", content
    for rule, kinds in BROKEN.items():
        for kind, content in kinds.items():
            yield f"broken/{rule}.{kind}.safetensors", content
    for verdict, indices in INDICES.items():
        for kind, text in indices.items():
            yield f"index/{verdict}.{kind}.json", text.encode()


def main(folder: Path) -> None:
    for name, content in files():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main(Path(__file__).parent)
