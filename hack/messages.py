# SPDX-License-Identifier: Apache-2.0
"""Every error message of the C library, usrbiod and the Python package, as their sources have them.

Usage: messages.py. What a message is filled with is shown as "…". docs/troubleshooting.md explains each, and a test
names those that it does not.
"""

import ast
import re
from pathlib import Path
from typing import Iterator, List, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HOLE = "…"


class Message(NamedTuple):
    text: str
    file: str
    line: int


def _tidy(text: str) -> str:
    """Holes that touch are one, and what only passes another message on is none."""
    text = re.sub(f"{HOLE}(?:[ :,;]*{HOLE})+", HOLE, " ".join(text.split()))
    return "" if not re.search("[a-z]{2}", text) else text


# ------------------------------------------------------------------ C

#: Functions whose first string is the format of a message.
_SETTERS = re.compile(
    r"\b(?:fst3fs_err_set(?:_kind)?\(|PyErr_Format\(|PyErr_SetString\(|fst3fs_log\(|say_seldom\(|fprintf\(stderr,)"
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[(){}]')
#: Rows of tables: an errno and the text that a message is filled with.
_ROWS = re.compile(r"\{\s*-?E[A-Z]+,(?=\s*[\"A-Z])")
_LITERAL, _MACRO = r'"(?:[^"\\]|\\.)*"', r"[A-Z_][A-Z_a-z0-9]{3,}"
#: A string of C, with macros before, between and behind its parts.
_STRING = re.compile(rf"(?:{_MACRO}\s+)*{_LITERAL}(?:\s*(?:{_MACRO}\s+)*{_LITERAL}|\s+{_MACRO}(?=\s*(?:[,}}]|$)))*")
_FORMAT = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh|ll|[hlzjt])?[a-zA-Z]")


def _c_text(string: str) -> str:
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|([A-Z_a-z0-9]{4,})', string)
    whole = "".join(HOLE if macro else literal for literal, macro in parts)
    return _FORMAT.sub(HOLE, whole.replace(f"%{HOLE}", HOLE).replace("\\n", " ").replace('\\"', '"').replace("%%", "%"))


def _until(source: str, at: int, closing: str) -> str:
    """The source from ``at`` to a character that closes what was opened before it."""
    depth = 0
    for token in _TOKEN.finditer(source, at):
        if depth == 0 and token.group() == closing:
            return source[at : token.start()]
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(token.group(), 0)
    return source[at:]


def _c_messages(path: Path) -> Iterator[Message]:
    source = path.read_text(encoding="utf-8")
    starts = [(start.end(), ")") for start in _SETTERS.finditer(source)]
    starts += [(start.end(), "}") for start in _ROWS.finditer(source)]
    for at, closing in starts:
        string = _STRING.search(_until(source, at, closing))
        if string:
            yield Message(_tidy(_c_text(string.group())), path.name, source.count("\n", 0, at) + 1)


# ------------------------------------------------------------------ Python


def _python_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_python_text(value) if isinstance(value, ast.Constant) else HOLE for value in node.values)
    if isinstance(node, ast.BinOp):
        return (_python_text(node.left) or HOLE) + (_python_text(node.right) or HOLE)
    return ""


def _is_error(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    return name.endswith("Error") and name != "AssertionError"


def _python_messages(path: Path) -> Iterator[Message]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _is_error(node):
            for argument in node.args:
                yield Message(_tidy(_python_text(argument)), path.name, node.lineno)


def messages() -> List[Message]:
    """In the order of their text, each once."""
    found = [m for folder in ("src", "usrbiod") for path in (ROOT / folder).rglob("*.c") for m in _c_messages(path)]
    found += [m for path in (ROOT / "python").rglob("*.py") for m in _python_messages(path)]
    return sorted({message.text: message for message in found if message.text}.values())


if __name__ == "__main__":
    for message in messages():
        print(f"{message.file}:{message.line}: {message.text}")
