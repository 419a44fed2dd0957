# SPDX-License-Identifier: Apache-2.0
"""The verdict, in words: from the rows alone."""

from typing import Dict, List, NamedTuple, Sequence

from .rows import DEFAULT_BUFFER, DEFAULT_ENTRIES, Row
from .worker import KERNEL, MEMORY, MIB, NOWHERE

#: From this share on the link counts as full, and a smaller buffer as good as a larger one.
FULL, AS_GOOD = 0.95, 0.97
#: A core that is this busy is what holds a process back.
BUSY = 0.85
#: Copies hold reading back when it is slower than this with them.
COPIES = 0.9


class Verdict(NamedTuple):
    """``link`` is the best that was seen, bytes a second; ``full`` whether one process reaches it; ``settings`` what
    to change to what, and nothing when the defaults are right."""

    link: float
    full: bool
    settings: Dict[str, int]
    words: List[str]


def _text(rate: float) -> str:
    return f"{rate / 1e9:.2f} GB/s"


def _with(row: Row) -> str:
    default = (row.buffer_size, row.entries) == (DEFAULT_BUFFER, DEFAULT_ENTRIES)
    return (
        "the defaults"
        if default
        else f"buffer_size={row.buffer_size} ({row.buffer_size // MIB} MiB) and entries={row.entries}"
    )


def _by_default(one: Sequence[Row]) -> Row:
    """The default's row, or the nearest that fitted."""
    return min(one, key=lambda row: abs(row.buffer_size - DEFAULT_BUFFER))


def _full(one: Sequence[Row], link: float) -> Verdict:
    default = _by_default(one)
    enough = min((row for row in one if row.rate >= FULL * link), key=lambda row: row.buffer_size)
    words = [
        f"One process fills this node's link, as far as can be seen from here: {_text(default.rate)}"
        f" with {_with(default)}, and the best of all was {_text(link)}.",
        "There is nothing to change.",
    ]
    if enough.buffer_size < default.buffer_size:
        words.append(f"{enough.buffer_size // MIB} MiB of buffer would do: {_text(enough.rate)}.")
    return Verdict(link, True, {}, words)


def _full_with_more(one: Sequence[Row], link: float) -> Verdict:
    default = _by_default(one)
    enough = min((row for row in one if row.rate >= FULL * link), key=lambda row: row.buffer_size)
    words = [
        f"One process fills this node's link with {_with(enough)}: {_text(enough.rate)};"
        f" {_with(default)} reach {_text(default.rate)}.",
        'Change these two: as arguments of the reader, or under "3fs" in FASTSAFETENSORS_CONFIG.',
    ]
    return Verdict(link, True, {"buffer_size": enough.buffer_size, "entries": enough.entries}, words)


def _why_not_full(best: Row) -> str:
    # A process' CPU time a second of reading.
    busy = best.cpu_s * best.rate / best.nbytes if best.nbytes else 0.0
    if busy >= BUSY:
        return f"Its core is what holds it back: it is busy for {busy:.0%} of the time."
    return (
        "It is not its core that holds it back: the daemon gives one client less than several, or the latency is long."
    )


def _not_full(one: Sequence[Row], many: Sequence[Row], link: float) -> Verdict:
    best = max(one, key=lambda row: row.rate)
    best = min((row for row in one if row.rate >= AS_GOOD * best.rate), key=lambda row: row.buffer_size)
    enough = min((row for row in many if row.rate >= FULL * link), key=lambda row: row.processes)
    words = [
        f"One process does not fill this node's link: {_text(best.rate)} with {_with(best)};"
        f" {enough.processes} processes reach {_text(enough.rate)} together.",
        _why_not_full(best),
        f"Read with {enough.processes} processes, as one for each GPU does anyway.",
    ]
    return Verdict(link, False, {"processes": enough.processes, "buffer_size": enough.buffer_size}, words)


def _beside(rows: Sequence[Row], default: Row) -> List[str]:
    words = []
    for row in rows:
        if row.way == MEMORY:
            into = f"into ordinary host memory it is {_text(row.rate)}"
            slow = row.rate < COPIES * default.rate
            words.append(
                f"Copies hold it back: {into}; memory of reader.alloc takes none."
                if slow
                else f"Copies do not hold it back: {into}."
            )
        elif row.way == KERNEL and row.rate:
            times = f"USRBIO is {default.rate / row.rate:.1f} times as fast"
            words.append(f"Through the kernel one process gets {_text(row.rate)}: {times}.")
    return words


def judge(rows: Sequence[Row]) -> Verdict:
    one = [row for row in rows if row.way == NOWHERE and row.processes == 1]
    many = [row for row in rows if row.way == NOWHERE and row.processes > 1]
    link = max(row.rate for row in [*one, *many])
    default = _by_default(one)
    if default.rate >= FULL * link:
        verdict = _full(one, link)
    elif max(row.rate for row in one) >= FULL * link:
        verdict = _full_with_more(one, link)
    else:
        verdict = _not_full(one, many, link)
    words = verdict.words + _beside(rows, default)
    return verdict._replace(words=[*words, "Storage may have had these files in its caches."])
