# SPDX-License-Identifier: Apache-2.0
"""The results for people: a table with the best of each way marked, and what the ratios are."""

from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from results import FAILED, Row
from rich.console import Console
from rich.table import Table
from serve import MIB

TITLES = {"read_chunked": "Throughput, median of the samples", "headers_batch": "Headers, median of the samples"}
BEST = "best"


def best_rows(rows: Iterable[Row]) -> Dict[Tuple[str, str], Row]:
    """The fastest row of each operation and way."""
    best: Dict[Tuple[str, str], Row] = {}
    for row in rows:
        key = (row.run.op, row.run.way)
        if row.samples and row.status != FAILED and (key not in best or row.median > best[key].median):
            best[key] = row
    return best


def _mib(nbytes: int, otherwise: str = "-") -> str:
    return f"{nbytes / MIB:g}" if nbytes else otherwise


def _parameters(row: Row) -> List[str]:
    run = row.run
    if row.headers:
        return [str(run.batch), str(run.threads), str(run.processes)]
    return [_mib(run.buffer), _mib(run.chunk, "auto" if run.buffer else "-"), str(run.processes)]


def _results(row: Row) -> List[str]:
    if not row.samples:
        return ["", "", "", "", ""]
    digits = 0 if row.headers else 2
    return [
        f"{row.median:.{digits}f}",
        f"{min(row.speeds):.{digits}f} - {max(row.speeds):.{digits}f}",
        "-" if row.headers else f"{row.cpu_s_per_gb:.4f}",
        f"{max(s.make_s for s in row.samples) * 1e3:.0f}",
        str(row.info.get("transport", "")),
    ]


def _remark(row: Row, is_best: bool) -> str:
    if row.error:
        return f"FAILED {row.error}"
    missing = row.wanted - len(row.samples)
    return ", ".join(
        word for word in (BEST if is_best else "", f"{missing} samples missing" if missing else "") if word
    )


def print_table(console: Console, rows: Sequence[Row], op: str, subtitle: str) -> None:
    """One row for each combination of an operation."""
    rows = [row for row in rows if row.run.op == op]
    if not rows:
        return
    headers = op == "headers_batch"
    table = Table(title=f"{TITLES[op]}\n{subtitle}", title_justify="left")
    table.add_column("way", no_wrap=True)
    for name in ("batch", "threads", "processes") if headers else ("buffer MiB", "chunk MiB", "processes"):
        table.add_column(name, justify="right")
    for name in ("files/s" if headers else "GB/s", "min - max", "CPU s/GB", "reader ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("transport")
    table.add_column("", overflow="fold")
    best = set(map(id, best_rows(rows).values()))
    for row in rows:
        marked = id(row) in best
        cells = [row.run.way, *_parameters(row), *_results(row), _remark(row, marked)]
        table.add_row(*cells, style="bold" if marked else None)
    console.print(table, markup=False)


# ------------------------------------------------------------------ ratios


def _same_conditions(peer: Row, row: Row) -> bool:
    """A peer of one size is compared with every size of ours."""
    same = (row.run.op, row.run.processes) == (peer.run.op, peer.run.processes)
    return same and (not peer.run.buffer or row.run.buffer == peer.run.buffer)


def _fastest(rows: Iterable[Row]) -> Optional[Row]:
    return max((row for row in rows if row.samples), key=lambda row: row.median, default=None)


def ratios(rows: Sequence[Row]) -> List[Tuple[Row, Row]]:
    """(ours, peer's): for each row of a peer the fastest of ours under the same conditions."""
    pairs = []
    for peer in rows:
        if peer.peer and peer.samples:
            ours = _fastest(row for row in rows if not row.peer and _same_conditions(peer, row))
            if ours is not None:
                pairs.append((ours, peer))
    return pairs


def print_ratios(console: Console, rows: Sequence[Row], subtitle: str) -> None:
    """Ours against what one would use otherwise."""
    pairs = ratios(rows)
    if not pairs:
        return
    table = Table(title=f"Against what one would use otherwise\n{subtitle}", title_justify="left")
    table.add_column("peer", no_wrap=True)
    for name in ("processes", "buffer MiB", "peer GB/s", "ours GB/s", "ours / peer"):
        table.add_column(name, justify="right")
    table.add_column("ours")
    for ours, peer in pairs:
        table.add_row(
            peer.run.way,
            str(peer.run.processes),
            _mib(peer.run.buffer),
            f"{peer.median:.2f}",
            f"{ours.median:.2f}",
            f"{ours.median / peer.median:.2f}",
            ours.run.label(),
        )
    console.print(table, markup=False)


def print_best(console: Console, rows: Sequence[Row]) -> None:
    """The summary: one line for each way."""
    for (op, way), row in sorted(best_rows(rows).items(), key=lambda item: -item[1].median):
        unit = "files/s" if op == "headers_batch" else "GB/s"
        console.print(f"best of {way}: {row.median:.2f} {unit} ({row.run.label()})", markup=False, soft_wrap=True)
