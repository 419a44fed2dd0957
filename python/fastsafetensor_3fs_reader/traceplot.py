# SPDX-License-Identifier: Apache-2.0
"""A trace as a picture and in words: what held the reading back, the link, the copies or the consumer."""

import json
from collections import defaultdict
from typing import Any, Dict, List, NamedTuple, Tuple

Span = Tuple[float, float]
#: Rows of a trace that are no slots, by thread number.
SLOTS = 100
#: A share of the time that decides.
MOST, SOME = 0.5, 0.15


class Trace(NamedTuple):
    """Spans in seconds from the first: of each slot by what it does, of waits by what for, and of opens and headers."""

    slots: Dict[int, Dict[str, List[Span]]]
    waits: Dict[str, List[Span]]
    files: Dict[str, List[Span]]
    seconds: float
    bytes: int


def load(path: str) -> Trace:
    """ValueError names the file, unless it is a trace of a reader; one that was cut off is fine."""
    slots: Dict[int, Dict[str, List[Span]]] = defaultdict(lambda: defaultdict(list))
    waits: Dict[str, List[Span]] = defaultdict(list)
    files: Dict[str, List[Span]] = defaultdict(list)
    events = [event for event in _events(path) if event.get("ph") == "X"]
    if not events:
        raise ValueError(f"{path}: no spans of a reader are in it")
    start = min(float(event["ts"]) for event in events)
    size = 0
    for event in events:
        begin = (float(event["ts"]) - start) / 1e6
        span, name, row = (begin, begin + float(event["dur"]) / 1e6), str(event["name"]), int(event["tid"])
        if row >= SLOTS:
            slots[row - SLOTS][name].append(span)
            size += event.get("args", {}).get("bytes", 0) if name == "reading" else 0
        else:
            (waits if name.startswith("wait") else files)[name].append(span)
    seconds = max(end for rows in (*slots.values(), waits, files) for spans in rows.values() for _, end in spans)
    return Trace(slots, waits, files, seconds, size)


def _events(path: str) -> List[Dict[str, Any]]:
    """The file is an array whose end may be missing, in the middle of a line as well."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    if not lines or not lines[0].startswith("["):
        raise ValueError(f"{path}: not a trace: it does not begin with '['")
    events = []
    for number, line in enumerate(lines[1:], 2):
        text = line.strip().rstrip(",")
        if text in ("", "]"):
            continue
        try:
            events.append(json.loads(text))
        except ValueError:
            if number < len(lines):
                raise ValueError(f"{path}: not a trace: line {number} is no event") from None
    return events


def _length(spans: List[Span]) -> float:
    """The time that spans cover together."""
    total, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


class Verdict(NamedTuple):
    """Shares of the time: reading (anything in flight), waiting for copies or slots, waiting for the consumer."""

    reading: float
    copies: float
    consumer: float
    in_flight: float
    gbps: float
    words: str


def judge(trace: Trace) -> Verdict:
    reading = [span for slot in trace.slots.values() for span in slot["reading"]]
    total = trace.seconds or 1e-9
    busy = _length(reading)
    share = busy / total
    copies = _length(trace.waits["wait for copies"] + trace.waits["wait for a slot"]) / total
    consumer = _length(trace.waits["wait for the consumer"]) / total
    in_flight = sum(end - begin for begin, end in reading) / busy if busy else 0.0
    return Verdict(share, copies, consumer, in_flight, trace.bytes / total / 1e9, _words(share, copies, consumer))


def _words(reading: float, copies: float, consumer: float) -> str:
    if consumer >= MOST or (consumer >= SOME and consumer >= copies):
        return (
            f"The consumer holds it back: {consumer:.0%} of the time nothing was read because no tensor was taken."
            " What is done with each tensor takes longer than reading it."
        )
    if copies >= SOME:
        return (
            f"Copies hold it back: {copies:.0%} of the time was spent waiting for them."
            " Into host memory, see what the destination costs; into a GPU, whether the buffer is page-locked."
        )
    if reading >= MOST:
        return (
            f"Storage and link hold it back: requests were in flight {reading:.0%} of the time, and nothing else was"
            " waited for. A larger window helps only where not all of it is in flight."
        )
    return (
        f"Nothing was in flight {1 - reading:.0%} of the time: the calls themselves leave gaps (many small reads one"
        " after the other, opening files, headers). Read more in one call."
    )


#: Readable in grey: light, middle and dark.
_COLOURS = {"reading": "#9ecae1", "landed": "#fdae6b", "copying": "#31688e"}
_WAITS = {
    "wait for I/O": "#c7c7c7",
    "wait for copies": "#31688e",
    "wait for a slot": "#fdae6b",
    "wait for the consumer": "#202020",
}


def _bars(axes: Any, row: float, spans: List[Span], colour: str) -> None:
    axes.broken_barh(
        [(begin * 1e3, max(end - begin, 1e-6) * 1e3) for begin, end in spans], (row - 0.4, 0.8), color=colour
    )


def plot(trace: Trace, output: str, title: str) -> None:
    """Writes a PNG or SVG, by its ending."""
    try:
        import matplotlib  # noqa: PLC0415 - for the picture alone

        matplotlib.use("Agg")
        from matplotlib import pyplot  # noqa: PLC0415
        from matplotlib.patches import Patch  # noqa: PLC0415
    except ImportError as e:
        raise ImportError("a picture needs matplotlib: pip install matplotlib") from e
    rows = sorted(trace.slots)
    height = 1.8 + 0.16 * (len(rows) + 3)
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(10, height), height_ratios=(max(len(rows), 4), 3), layout="constrained"
    )
    for place, slot in enumerate(rows):
        for name, colour in _COLOURS.items():
            _bars(top, place, trace.slots[slot][name], colour)
    top.set_ylabel("slot of the buffer")
    step = max(1, len(rows) // 8)
    top.set_yticks(range(0, len(rows), step), [str(slot) for slot in rows[::step]])
    top.set_ylim(len(rows) - 0.3, -0.7)
    top.set_title(title, loc="left", fontsize=10)
    files = [span for spans in trace.files.values() for span in spans]
    _bars(bottom, 1, files, "#7f7f7f")
    for name, colour in _WAITS.items():
        _bars(bottom, 0, trace.waits[name], colour)
    bottom.set_yticks([0, 1], ["waits", "opens, headers"])
    bottom.set_ylim(-0.6, 1.6)
    bottom.set_xlabel("time in ms")
    seen = [Patch(color=colour, label=name) for name, colour in {**_COLOURS, **_WAITS}.items() if _has(trace, name)]
    figure.legend(handles=seen, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(output, dpi=120)
    pyplot.close(figure)


def _has(trace: Trace, name: str) -> bool:
    return bool(trace.waits.get(name)) or any(slot.get(name) for slot in trace.slots.values())
