# SPDX-License-Identifier: Apache-2.0
"""What a reader has counted: a snapshot, the difference of two, and both for Prometheus."""

from typing import Any, Dict, List, NamedTuple

#: What only grows, and what it is to Prometheus.
COUNTERS = {
    "reads": "ranges delivered",
    "requests": "requests to the transport",
    "bytes": "bytes delivered",
    "bytes_posix": "bytes read through the operating system",
    "bytes_direct": "bytes delivered without a copy",
    "in_flight_ns": "sum over time of requests in flight",
    "flight_ns": "time with requests in flight",
    "io_wait_ns": "time that reads waited with nothing landed",
    "copy_wait_ns": "time that reads waited for copies alone",
    "slot_wait_ns": "time of these waits in which every slot was taken by copies",
    "consumer_wait_ns": "time that streams had nothing to read because no tensor was taken",
    "given_up": "times that buffer and ring were given up whole",
    "fallbacks": "ranges read through the operating system by a reader of a 3FS mount",
}


class Stats(NamedTuple):
    """Counters of a reader since it was made; ``since`` gives those between two moments.

    ``latency[i]`` counts requests that landed within ``2**i`` microseconds (and not within half of that), the last all
    others. ``in_flight`` and ``in_flight_max`` are of the moment, and of the reader's life.
    """

    now_ns: int
    reads: int
    requests: int
    bytes: int
    bytes_posix: int
    bytes_direct: int
    in_flight: int
    in_flight_max: int
    in_flight_ns: int
    flight_ns: int
    io_wait_ns: int
    copy_wait_ns: int
    slot_wait_ns: int
    consumer_wait_ns: int
    given_up: int
    fallbacks: int
    latency_ns: int
    latency: List[int]

    @property
    def in_flight_average(self) -> float:
        """Over the time in which anything was in flight."""
        return self.in_flight_ns / self.flight_ns if self.flight_ns else 0.0

    @property
    def latency_average_us(self) -> float:
        landed = sum(self.latency)
        return self.latency_ns / landed / 1e3 if landed else 0.0

    def latency_us(self, share: float) -> float:
        """An upper bound, a power of two, of the latency that this share (0 to 1) of the requests had."""
        landed, seen = sum(self.latency), 0
        for i, count in enumerate(self.latency):
            seen += count
            if count and seen >= share * landed:
                return float(2**i)
        return 0.0

    def since(self, earlier: "Stats") -> "Stats":
        """What happened between ``earlier`` and this; ``now_ns`` is the time that has passed."""
        changed: Dict[str, Any] = {name: getattr(self, name) - getattr(earlier, name) for name in COUNTERS}
        changed["now_ns"] = self.now_ns - earlier.now_ns
        changed["latency_ns"] = self.latency_ns - earlier.latency_ns
        changed["latency"] = [a - b for a, b in zip(self.latency, earlier.latency)]
        return self._replace(**changed)

    def prometheus(self, **labels: str) -> str:
        """The counters in Prometheus' text format, with these labels."""
        own = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        braces = f"{{{own}}}" if own else ""
        lines = []
        for name, text in COUNTERS.items():
            seconds = name.endswith("_ns")
            metric = f"fst3fs_{name[:-3]}_seconds_total" if seconds else f"fst3fs_{name}_total"
            value = getattr(self, name) / 1e9 if seconds else getattr(self, name)
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} counter", f"{metric}{braces} {value}"]
        for name, text in (("in_flight", "requests in flight"), ("in_flight_max", "most requests in flight so far")):
            lines += [f"# HELP fst3fs_{name} {text}", f"# TYPE fst3fs_{name} gauge"]
            lines.append(f"fst3fs_{name}{braces} {getattr(self, name)}")
        return "\n".join(lines + self._histogram(own)) + "\n"

    def _histogram(self, labels: str) -> List[str]:
        metric, seen = "fst3fs_request_latency_seconds", 0
        lines = [f"# HELP {metric} from a request to its landing", f"# TYPE {metric} histogram"]
        before = f"{labels}," if labels else ""
        for i, count in enumerate(self.latency[:-1]):
            seen += count
            lines.append(f'{metric}_bucket{{{before}le="{2**i / 1e6:g}"}} {seen}')
        total = seen + self.latency[-1]
        braces = f"{{{labels}}}" if labels else ""
        lines.append(f'{metric}_bucket{{{before}le="+Inf"}} {total}')
        lines.append(f"{metric}_sum{braces} {self.latency_ns / 1e9}")
        lines.append(f"{metric}_count{braces} {total}")
        return lines


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
