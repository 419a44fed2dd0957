# SPDX-License-Identifier: Apache-2.0
"""Environment variables that hold anything: each is a value that the setting may have, or an error that names it."""

import math
import os
import random

import pytest

from fastsafetensor_3fs_reader.settings import SETTINGS, environment_name, resolve

PIECES = [
    "",
    "1",
    "0",
    "-",
    ".",
    "e",
    "nan",
    "inf",
    "_",
    " ",
    "\n",
    "٣",
    "x",
    "9" * 400,
    "auto",
    "sdk",
    "builtin",
    "on",
    "off",
]
PIECES += ["usrbio", "90", "0.001", "4000000", "1e-3", "\udcff", "ON", "%p", "\t90 "]


def may_be(name: str, value: object) -> bool:
    if name == "timeout":
        return isinstance(value, float) and math.isfinite(value) and 0.001 <= value <= 4_000_000
    if name == "trace":
        return isinstance(value, str)
    allowed = {"usrbio": ("auto", "sdk", "builtin"), "populate": ("on", "off"), "require": ("", "usrbio")}
    return value in allowed[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_any_text_is_a_value_or_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(name)
    taken = refused = 0
    for _ in range(3000):
        text = "".join(random_.choices(PIECES, k=random_.choice((1, 1, 2, 3))))
        monkeypatch.setitem(os.environ, environment_name(name), text)
        try:
            assert may_be(name, resolve(name, None)), text
            taken += 1
        except ValueError as e:
            assert str(e).startswith(f"{environment_name(name)} must be ")
            assert repr(text) in str(e)
            refused += 1
    assert taken > 50
    assert refused > 50 or name == "trace"
