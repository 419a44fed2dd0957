# SPDX-License-Identifier: Apache-2.0
"""What the doctor finds: one line each, and what to do about those that are not well."""

from typing import Dict, List, NamedTuple

OK = "ok"
#: Works, and will hurt.
WARN = "warn"
#: Does not work.
BAD = "bad"
#: Nothing to judge.
NONE = "none"

WORDS = {OK: "ok", WARN: "look", BAD: "BAD", NONE: "-"}
_COLOURS = {OK: "32", WARN: "33", BAD: "31;1", NONE: "2"}


class Line(NamedTuple):
    """``what`` names it, ``said`` is what was found, ``advice`` what to do."""

    what: str
    status: str
    said: str
    advice: str = ""

    def as_dict(self) -> Dict[str, str]:
        return self._asdict()

    def text(self, width: int, colour: bool) -> str:
        word = WORDS[self.status].ljust(max(map(len, WORDS.values())))
        if colour:
            word = f"\x1b[{_COLOURS[self.status]}m{word}\x1b[0m"
        text = f"{word}  {self.what.ljust(width)}  {self.said}"
        indent = " " * (max(map(len, WORDS.values())) + width + 4)
        return text + (f"\n{indent}-> {self.advice}" if self.advice else "")


def page(lines: List[Line], colour: bool) -> str:
    width = max(len(line.what) for line in lines)
    return "\n".join(line.text(width, colour) for line in lines)


def is_healthy(lines: List[Line]) -> bool:
    return not any(line.status == BAD for line in lines)


def verdict(lines: List[Line]) -> str:
    bad, look = (sum(line.status == status for line in lines) for status in (BAD, WARN))
    if bad:
        return f"{bad} of these {'is' if bad == 1 else 'are'} BAD{f', {look} more to look at' if look else ''}."
    return f"Nothing is wrong{f', {look} to look at' if look else ''}."
